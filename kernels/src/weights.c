/* The weighting strategies; see driftline_combiner/weights.py. */

#include "weights.h"
#include "numbers.h"

void weights_normalise(double *raw, const bool *present) {
  double count = 0.0;
  for (int i = 0; i < MEMBERS; i++) {
    raw[i] *= present[i];
    count += present[i];
  }
  double total = sum(raw, MEMBERS);
  for (int i = 0; i < MEMBERS; i++) raw[i] = total > 0.0 ? raw[i] / total : present[i] / greater(count, 1.0);
}

double weights_blend(const double *weights, const double *forecasts, const bool *present) {
  double total = 0.0;
  bool any = false;
  for (int i = 0; i < MEMBERS; i++) {
    total += weights[i] * (present[i] ? forecasts[i] : 0.0);
    any |= present[i];
  }
  return any ? total : NAN;
}

void grams_learn(grams memory, const double *error, double forgetting) {
  double kept = 1.0 - forgetting;
  for (int i = 0; i < MEMBERS; i++) {
    if (!isfinite(error[i])) continue;
    for (int j = 0; j < MEMBERS; j++) {
      if (!isfinite(error[j])) continue;
      double *product = memory.products + i * MEMBERS + j, *count = memory.counts + i * MEMBERS + j;
      *product = *product * kept + error[i] * error[j];
      *count = *count * kept + 1.0;
    }
  }
}

/* Solves a system of `size` rows, each of which ends with its right side, by elimination with pivots. The solution is
   then where the right side was. */
static void solve(double system[MEMBERS][MEMBERS + 1], int size) {
  for (int k = 0; k < size; k++) {
    int pivot = k;
    for (int i = k + 1; i < size; i++)
      if (fabs(system[i][k]) > fabs(system[pivot][k])) pivot = i;
    for (int j = k; j <= size; j++) {
      double other = system[pivot][j];
      system[pivot][j] = system[k][j];
      system[k][j] = other;
    }
    for (int i = k + 1; i < size; i++) {
      double factor = system[i][k] / system[k][k];
      for (int j = k + 1; j <= size; j++) system[i][j] -= factor * system[k][j];
    }
  }
  for (int k = size - 1; k >= 0; k--) {
    for (int j = k + 1; j < size; j++) system[k][size] -= system[k][j] * system[j][size];
    system[k][size] /= system[k][k];
  }
}

/* The minimum of w'Gw where only the members of `chosen` weigh, not scaled to a sum of 1. Returns that sum, which is
   the inverse of the minimum; 0 where one of them would weigh less than nothing. */
static double minimum_on(const double *gram, const int *chosen, int size, double *solved) {
  double system[MEMBERS][MEMBERS + 1], total = 0.0;
  for (int i = 0; i < size; i++) {
    for (int j = 0; j < size; j++) system[i][j] = gram[chosen[i] * MEMBERS + chosen[j]];
    system[i][size] = 1.0;
  }
  solve(system, size);
  for (int i = 0; i < size; i++) {
    solved[i] = system[i][size];
    if (!(solved[i] >= 0.0)) return 0.0;
    total += solved[i];
  }
  return total > 0.0 ? total : 0.0;
}

/* All supports are tried, in the order in which weights.py counts them: the last member's bit is the lowest. */
static double best_support(const double *gram, const bool *fitted, double *weights) {
  double best = 0.0;
  for (int support = 1; support < 1 << MEMBERS; support++) {
    int chosen[MEMBERS], size = 0;
    bool possible = true;
    for (int i = 0; i < MEMBERS; i++)
      if (support >> (MEMBERS - 1 - i) & 1) {
        chosen[size++] = i;
        possible &= fitted[i];
      }
    double solved[MEMBERS], total = possible ? minimum_on(gram, chosen, size, solved) : 0.0;
    if (!(total > best)) continue;
    best = total;
    for (int i = 0; i < MEMBERS; i++) weights[i] = 0.0;
    for (int i = 0; i < size; i++) weights[chosen[i]] = solved[i] / total;
  }
  return best;
}

static void simplex_argmin(double *gram, bool *fitted, double *weights) {
  double least = INFINITY;
  for (int i = 0; i < MEMBERS; i++) {
    double own = gram[i * MEMBERS + i];
    if (fitted[i] && own > 0.0) least = lesser(least, own);
  }
  bool known = isfinite(least);
  for (int i = 0; i < MEMBERS; i++) fitted[i] = fitted[i] && gram[i * MEMBERS + i] <= HOPELESS * least;
  for (int i = 0; i < PAIRS; i++) gram[i] /= known ? least : 1.0;
  for (int i = 0; i < MEMBERS; i++) gram[i * MEMBERS + i] += RIDGE;
  if (known && best_support(gram, fitted, weights) > 0.0) return;
  for (int i = 0; i < MEMBERS; i++) weights[i] = 0.0;
  weights_normalise(weights, fitted);
}

void weights_fit_window(grams window, grams remote, double *weights) {
  bool fitted[MEMBERS];
  double gram[PAIRS], most = 0.0;
  for (int i = 0; i < MEMBERS; i++) most = greater(most, remote.counts[i * MEMBERS + i]);
  for (int i = 0; i < MEMBERS; i++) {
    double own = remote.counts[i * MEMBERS + i];
    fitted[i] = own > 0.0 && own >= ENOUGH * most;
  }
  for (int i = 0; i < PAIRS; i++) {
    double share = lesser(1.0, SHRINKAGE / greater(remote.counts[i], 1.0));
    double count = window.counts[i] + share * remote.counts[i];
    gram[i] = (window.products[i] + share * remote.products[i]) / greater(count, TINY);
  }
  simplex_argmin(gram, fitted, weights);
}
