// An example for Android with LiteRT (com.google.ai.edge.litert:litert, 1.x), made for this file.
// Put int8.tflite into app/src/main/assets. It was not compiled where it was written.
package edgenas.example

import android.content.Context
import android.graphics.Bitmap
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

    /** Real numbers by the names of the outputs, of a picture turned upright. */
    fun run(picture: Bitmap): Map<String, FloatArray> {
        // run.py says by what shape pictures are cut, or padded, before this: data.fit is "@FIT@".
        val scaled = Bitmap.createScaledBitmap(picture, WIDTH, HEIGHT, true)
        val pixels = IntArray(WIDTH * HEIGHT)
        scaled.getPixels(pixels, 0, WIDTH, 0, 0, WIDTH, HEIGHT)
        val input = ByteBuffer.allocateDirect(WIDTH * HEIGHT * CHANNELS).order(ByteOrder.nativeOrder())
        for (pixel in pixels) {
            val rgb = intArrayOf(pixel shr 16 and 255, pixel shr 8 and 255, pixel and 255)
            if (CHANNELS == 3) rgb.forEach { input.put(quantized(it.toFloat())) }
            else input.put(quantized(0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]))
        }
        input.rewind()
        val outputs = OUTPUTS.associate { it.name to ByteBuffer.allocateDirect(it.size) as Any }
        interpreter.runSignature(mapOf("input" to input as Any), outputs)
        return OUTPUTS.associate { output ->
            val bytes = outputs[output.name] as ByteBuffer
            bytes.rewind()
            output.name to FloatArray(output.size) { output.real(bytes.get()) }
        }
    }

    override fun close() = interpreter.close()

    /** A pixel enters as pixel / 127.5 - 1, in steps of the input's scale. */
    private fun quantized(value: Float): Byte =
        (Math.rint(((value / 127.5f - 1f) / SCALE).toDouble()).toInt() + ZERO_POINT)
            .coerceIn(-128, 127).toByte()

    private class Output(val name: String, val size: Int, val scale: Float, val zeroPoint: Int) {
        /** Without a scale a byte is the number of a class, 0 to 255. */
        fun real(value: Byte): Float =
            if (scale == 0f) (value.toInt() and 255).toFloat() else (value - zeroPoint) * scale
    }

    private companion object {
        const val HEIGHT = @HEIGHT@
        const val WIDTH = @WIDTH@
        const val CHANNELS = @CHANNELS@
        const val SCALE = @SCALE@f
        const val ZERO_POINT = @ZERO_POINT@
        val OUTPUTS = listOf(
@OUTPUTS@
        )
    }
}
