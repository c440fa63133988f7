"""Exports a fitted network for the edge's runtime.

A network learns scaled inputs and targets; what is exported scales inside, so the edge feeds raw features and gets
differences to the last value in the target's own units.
"""

from typing import Any

from driftline_trainer.fitting.scaling import INPUT_CLIP, Scaling


def to_tflite(network: Any, scaling: Scaling) -> bytes:
    """A .tflite with built-in operators only and any number of rows.

    The weights become constants of the function, so that no variable is left for the converter to freeze: from a
    function with variables it makes a model that fails, or gives NaN, without a word.
    """
    import tensorflow as tf  # noqa: PLC0415 - see `driftline_trainer.fit.warm`

    trained = [[variable.numpy() for variable in network.trainable_variables]]
    trained += [[variable.numpy() for variable in network.non_trainable_variables]]

    def serve(raw: Any) -> Any:
        scaled = tf.clip_by_value((raw - scaling.mean) / scaling.deviation, -INPUT_CLIP, INPUT_CLIP)
        constants = [[tf.constant(array) for array in arrays] for arrays in trained]
        outputs, _ = network.stateless_call(*constants, scaled, training=False)
        return tf.reduce_mean(outputs, axis=1) * scaling.target

    signature = [tf.TensorSpec((None, len(scaling.mean)), tf.float32)]
    function = tf.function(serve, input_signature=signature, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())
