// An example for Android with LiteRT (com.google.ai.edge.litert:litert, 1.x), made for this file.
// Put int8.tflite into app/src/main/assets. It was not compiled where it was written.
package edgenas.example

import android.content.Context
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter

class Network(context: Context) : AutoCloseable {
    private val interpreter = Interpreter(
        context.assets.openFd("int8.tflite").use { file ->
            FileInputStream(file.fileDescriptor).channel.map(
                FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
        },
        Interpreter.Options().setNumThreads(2),
    )

    /**
     * Real numbers by the names of the outputs.
     *
     * [tokens] are numbers of vocabulary.txt, at most LENGTH of them; run.py makes them of a text.
     * [types] are 0 for the question and 1 for its text; a network without such an input has none.
     */
    fun run(tokens: IntArray, types: IntArray = IntArray(0)): Map<String, FloatArray> {
        val numbers = whole(tokens)
        val mask = ByteBuffer.allocateDirect(LENGTH)
        for (at in 0 until LENGTH) {
            val hidden = if (at < tokens.size) 0f else MASKED
            mask.put((Math.rint((hidden / SCALE).toDouble()).toInt() + ZERO_POINT)
                .coerceIn(-128, 127).toByte())
        }
        mask.rewind()
        val inputs = mutableMapOf<String, Any>("input" to numbers, "mask" to mask)
        if (HAS_TYPES) inputs["types"] = whole(types)
        val outputs = OUTPUTS.associate { it.name to ByteBuffer.allocateDirect(it.size) as Any }
        interpreter.runSignature(inputs, outputs)
        return OUTPUTS.associate { output ->
            val bytes = outputs[output.name] as ByteBuffer
            bytes.rewind()
            output.name to FloatArray(output.size) { (bytes.get() - output.zeroPoint) * output.scale }
        }
    }

    override fun close() = interpreter.close()

    private fun whole(values: IntArray): ByteBuffer {
        val buffer = ByteBuffer.allocateDirect(4 * LENGTH).order(ByteOrder.nativeOrder())
        for (at in 0 until LENGTH) buffer.putInt(values.getOrElse(at) { 0 })
        buffer.rewind()
        return buffer
    }

    private class Output(val name: String, val size: Int, val scale: Float, val zeroPoint: Int)

    private companion object {
        const val LENGTH = @LENGTH@
        const val HAS_TYPES = @TYPES@
        const val MASKED = -16f
        const val SCALE = @SCALE@f
        const val ZERO_POINT = @ZERO_POINT@
        val OUTPUTS = listOf(
@OUTPUTS@
        )
    }
}
