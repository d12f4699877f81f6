// AudioWorklet: what the microphone hears, as 16-bit samples, a tenth of a second at a time, and how loud it is.

class Pcm extends AudioWorkletProcessor {
	#block = new Int16Array(sampleRate / 10);
	#filled = 0;
	#loudest = 0;

	process([input]) {
		for (const value of input[0] ?? []) {
			this.#loudest = Math.max(this.#loudest, Math.abs(value));
			this.#block[this.#filled++] = Math.max(-1, Math.min(1, value)) * 32767;
			if (this.#filled === this.#block.length) {
				this.port.postMessage({ samples: this.#block.slice(), loudest: this.#loudest });
				this.#filled = 0;
				this.#loudest = 0;
			}
		}
		return true;
	}
}

registerProcessor('pcm', Pcm);
