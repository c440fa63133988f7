#ifndef DRIFTLINE_HEALTH_H
#define DRIFTLINE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

/* As in driftline_inference/sensor_health.py; a test compares them. */
#define FAST_MEMORY 0.15
#define SLOW_MEMORY 0.002
#define USUAL_MEMORY 0.001
#define FAR 5.0
#define RARE 1e-4
#define RARE_RATE 0.01
#define LEARNED 3.0
#define HUGE 1e150
#define BEYOND 1.3
#define QUIET 0.2
#define WARM_UP 300
#define LEAP 2.0
#define STAYS 3
#define LONGER 3

/* The arrays of driftline_inference.sensor_health.SensorHealth, in its order. */
typedef struct {
  int64_t *count, *t, *gap;
  double *value, *averages, *usual, *extreme, *leap, *jump, *base;
  int64_t *held, *run, *longest;
} health_table;

/* The arrays of driftline_inference.sensor_health.Condition, in its order. */
typedef struct {
  double *shift, *moved, *jumped;
  int64_t *since, *gap, *run;
  bool *missing;
} health_condition;

/* `assess` of sensor_health.py, record after record. slots, t: [count]; a slot may come several times. values: [count,
   columns], NaN where missing. */
void health_assess(const health_table *health, int64_t columns, int64_t count, const int64_t *slots, const int64_t *t,
                   const double *values, const health_condition *condition);

#endif
