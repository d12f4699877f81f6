// The microphone: whether it may be had, and a plain recording of it.

import { t, when } from './words.js';

// Why there can be no recording here; '' where there can.
export function canRecord() {
	if (!isSecureContext) {
		return t('Browsers give the microphone only to https pages and localhost. Open this page as https://…, or add a file.');
	}
	return navigator.mediaDevices?.getUserMedia ? '' : t('This browser has no microphone to give.');
}

export async function microphone() {
	try {
		return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
	} catch (cause) {
		const why = {
			NotAllowedError: t('The microphone was refused. Allow it beside the address, then try again.'),
			NotFoundError: t('No microphone was found: connect one and try again.'),
			NotReadableError: t('Another program holds the microphone: close it and try again.'),
		}[cause.name];
		throw new Error(why ?? t('The microphone cannot be used: {why}', { why: cause.message }));
	}
}

export const recordingName = (kind) => `${kind} ${when(Date.now()).replace(/[/:]/g, '.')}`;

export class Recording {
	static async start(tell) {
		const stream = await microphone();
		const recording = new Recording();
		recording.stream = stream;
		const type = ['audio/webm;codecs=opus', 'audio/mp4', 'audio/ogg'].find((k) => MediaRecorder.isTypeSupported(k));
		recording.recorder = new MediaRecorder(stream, type ? { mimeType: type, audioBitsPerSecond: 64_000 } : {});
		recording.parts = [];
		recording.recorder.ondataavailable = (e) => recording.parts.push(e.data);
		recording.recorder.start(1000);
		const began = Date.now();
		tell(0);
		recording.clock = setInterval(() => tell((Date.now() - began) / 1000), 500);
		return recording;
	}

	async stop() {
		clearInterval(this.clock);
		if (this.recorder.state !== 'inactive') {
			const ended = new Promise((done) => (this.recorder.onstop = done));
			this.recorder.stop();
			await ended;
		}
		this.stream.getTracks().forEach((track) => track.stop());
		return { file: new Blob(this.parts, { type: this.recorder.mimeType.split(';')[0] }), name: recordingName(t('Recording')) };
	}
}
