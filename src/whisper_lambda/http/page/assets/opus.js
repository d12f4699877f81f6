// A recording -> Ogg Opus where the browser can (WebCodecs) and it is smaller, else null.

const BITRATE = 24_000;
const LONGEST_DECODED_S = 3600; // what decodeAudioData may hold in memory

export async function compressed(file, { channels = false, tell = () => {}, signal } = {}) {
	if (!('AudioEncoder' in globalThis)) return null;
	const source = (await wavSource(file)) ?? (await decodedSource(file));
	if (!source) return null;
	const count = channels ? Math.min(2, source.channels) : 1;
	const config = { codec: 'opus', sampleRate: source.rate, numberOfChannels: count, bitrate: BITRATE * count };
	if (!(await AudioEncoder.isConfigSupported(config)).supported) return null;
	const pages = new OggOpus(count, source.rate);
	let failed = null;
	const encoder = new AudioEncoder({ output: (chunk) => pages.add(chunk), error: (e) => (failed = e) });
	encoder.configure(config);
	for (let at = 0; at < source.frames && !failed;) {
		if (signal?.aborted) throw new DOMException('cancelled', 'AbortError');
		const planes = await source.read(at, Math.min(source.rate, source.frames - at));
		const mixed = count === 1 ? mix(planes) : interleaved(planes.slice(0, count));
		const length = planes[0].length;
		encoder.encode(new AudioData({
			format: count === 1 ? 'f32-planar' : 'f32', sampleRate: source.rate, numberOfFrames: length, numberOfChannels: count,
			timestamp: Math.round((at / source.rate) * 1e6), data: mixed,
		}));
		at += length;
		tell(at / source.frames);
		while (encoder.encodeQueueSize > 8) await new Promise((go) => setTimeout(go, 4));
	}
	if (!failed) await encoder.flush();
	encoder.close();
	if (failed) return null;
	const packed = pages.finish();
	return packed.size < file.size ? packed : null;
}

function mix(planes) {
	if (planes.length === 1) return planes[0];
	const out = new Float32Array(planes[0].length);
	for (const plane of planes) for (let i = 0; i < out.length; i++) out[i] += plane[i] / planes.length;
	return out;
}

function interleaved(planes) {
	const out = new Float32Array(planes[0].length * planes.length);
	planes.forEach((plane, c) => plane.forEach((v, i) => (out[i * planes.length + c] = v)));
	return out;
}

// PCM WAV, read a second at a time however long it is.
export async function wavSource(file) {
	const head = new DataView(await file.slice(0, 4096).arrayBuffer());
	const tag = (at) => (at + 4 <= head.byteLength ? String.fromCharCode(...new Uint8Array(head.buffer, at, 4)) : '');
	if (tag(0) !== 'RIFF' || tag(8) !== 'WAVE') return null;
	let format = null;
	for (let at = 12; at + 8 <= head.byteLength;) {
		const size = head.getUint32(at + 4, true);
		if (tag(at) === 'fmt ') {
			const kind = head.getUint16(at + 8, true);
			format = { float: kind === 3 || (kind === 0xfffe && head.getUint16(at + 32, true) === 3), channels: head.getUint16(at + 10, true), rate: head.getUint32(at + 12, true), bits: head.getUint16(at + 22, true) };
			if (![1, 3, 0xfffe].includes(kind)) return null;
		}
		if (tag(at) === 'data' && format) return pcm(file, at + 8, Math.min(size || Infinity, file.size - at - 8), format);
		at += 8 + size + (size & 1);
	}
	return null;
}

function pcm(file, begin, size, { float, channels, rate, bits }) {
	const width = bits / 8;
	const step = width * channels;
	if (!(float ? bits === 32 : [16, 24, 32].includes(bits)) || !channels) return null;
	const sample = float ? (v, at) => v.getFloat32(at, true)
		: bits === 16 ? (v, at) => v.getInt16(at, true) / 32768
			: bits === 24 ? (v, at) => ((v.getUint16(at, true) | (v.getInt8(at + 2) << 16)) / 8388608)
				: (v, at) => v.getInt32(at, true) / 2147483648;
	return {
		rate, channels, frames: Math.floor(size / step),
		async read(at, count) {
			const view = new DataView(await file.slice(begin + at * step, begin + (at + count) * step).arrayBuffer());
			const length = Math.floor(view.byteLength / step);
			return Array.from({ length: channels }, (_, c) => Float32Array.from({ length }, (_, i) => sample(view, i * step + c * width)));
		},
	};
}

// Anything else the browser plays; held decoded.
export async function decodedSource(file, rate = 16_000) {
	try {
		const seconds = await secondsOf(file);
		if (!seconds || seconds > LONGEST_DECODED_S) return null;
		const context = new OfflineAudioContext(1, 1, rate);
		const decoded = await context.decodeAudioData(await file.arrayBuffer());
		const planes = Array.from({ length: decoded.numberOfChannels }, (_, c) => decoded.getChannelData(c));
		return {
			rate, channels: planes.length, frames: decoded.length,
			read: async (at, count) => planes.map((p) => p.subarray(at, at + count)),
		};
	} catch {
		return null;
	}
}

// Some seconds of a recording as a WAV, null where it cannot be cut here.
export async function passage(file, start, end) {
	const source = (await wavSource(file)) ?? (await decodedSource(file));
	if (!source) return null;
	const from = Math.max(0, Math.floor(start * source.rate));
	const planes = await source.read(from, Math.min(source.frames, Math.ceil(end * source.rate)) - from);
	return wav(mix(planes), source.rate);
}

export function wav(samples, rate) {
	const data = new Int16Array(samples.length);
	for (let i = 0; i < samples.length; i++) data[i] = Math.max(-1, Math.min(1, samples[i])) * 32767;
	return new Blob([wavHead(data.byteLength, rate), data], { type: 'audio/wav' });
}

export function wavHead(size, rate) {
	const head = new DataView(new ArrayBuffer(44));
	const put = (at, text) => [...text].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
	put(0, 'RIFF'); head.setUint32(4, 36 + size, true); put(8, 'WAVEfmt ');
	head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
	head.setUint32(24, rate, true); head.setUint32(28, rate * 2, true); head.setUint16(32, 2, true); head.setUint16(34, 16, true);
	put(36, 'data'); head.setUint32(40, size, true);
	return head.buffer;
}

// RFC 7845 in RFC 3533: one page for each second or so of packets.
class OggOpus {
	#pages = [];
	#packets = [];
	#granule = 0n;
	#number = 0;
	#serial = (Math.random() * 2 ** 32) >>> 0;

	constructor(channels, rate) {
		const head = new DataView(new ArrayBuffer(19));
		new Uint8Array(head.buffer).set(new TextEncoder().encode('OpusHead'));
		head.setUint8(8, 1);
		head.setUint8(9, channels);
		head.setUint16(10, 312, true); // pre-skip, 48 kHz samples: what libopus looks ahead
		head.setUint32(12, rate, true);
		this.#page([new Uint8Array(head.buffer)], 2, 0n);
		const tags = new Uint8Array(8 + 4 + 4 + 4);
		tags.set(new TextEncoder().encode('OpusTags'));
		tags.set([4, 0, 0, 0, 112, 97, 103, 101], 8); // vendor "page", no comments
		this.#page([tags], 0, 0n);
	}

	add(chunk) {
		const data = new Uint8Array(chunk.byteLength);
		chunk.copyTo(data);
		if (this.#packets.length >= 50 || this.#packets.reduce((n, p) => n + Math.ceil((p.length + 1) / 255), 0) > 220) this.#flush(0);
		this.#packets.push(data);
		this.#granule += BigInt(Math.round(((chunk.duration || 20_000) * 48) / 1000));
	}

	finish() {
		this.#flush(4);
		return new Blob(this.#pages, { type: 'audio/ogg' });
	}

	#flush(flags) {
		if (this.#packets.length) this.#page(this.#packets, flags, this.#granule);
		this.#packets = [];
	}

	#page(packets, flags, granule) {
		const table = packets.flatMap((p) => [...Array(Math.floor(p.length / 255)).fill(255), p.length % 255]);
		const page = new Uint8Array(27 + table.length + packets.reduce((n, p) => n + p.length, 0));
		const view = new DataView(page.buffer);
		page.set(new TextEncoder().encode('OggS'));
		view.setUint8(5, flags);
		view.setBigUint64(6, granule, true);
		view.setUint32(14, this.#serial, true);
		view.setUint32(18, this.#number++, true);
		view.setUint8(26, table.length);
		page.set(table, 27);
		let at = 27 + table.length;
		for (const packet of packets) {
			page.set(packet, at);
			at += packet.length;
		}
		view.setUint32(22, crc(page), true);
		this.#pages.push(page);
	}
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
	let r = n << 24;
	for (let i = 0; i < 8; i++) r = r & 0x80000000 ? (r << 1) ^ 0x04c11db7 : r << 1;
	return r >>> 0;
});

function crc(bytes) {
	let sum = 0;
	for (const byte of bytes) sum = ((sum << 8) ^ TABLE[(sum >>> 24) ^ byte]) >>> 0;
	return sum;
}

// Length as the browser can tell it; 0 where it cannot.
export function secondsOf(blob) {
	return new Promise((done) => {
		const address = URL.createObjectURL(blob);
		const probe = new Audio();
		const finish = (seconds) => {
			clearTimeout(late);
			probe.removeAttribute('src');
			URL.revokeObjectURL(address);
			done(Number.isFinite(seconds) ? seconds : 0);
		};
		const late = setTimeout(() => finish(0), 4000);
		probe.preload = 'metadata';
		probe.onloadedmetadata = () => finish(probe.duration);
		probe.onerror = () => finish(0);
		probe.src = address;
	});
}
