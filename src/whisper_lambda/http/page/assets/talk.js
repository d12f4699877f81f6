// Talk and read along: sound to the server, its words back, kept as a transcript.

import { callJson, facts } from './api.js';
import { fill, h, say, sleep } from './dom.js';
import { askForKey, key } from './key.js';
import { wavHead } from './opus.js';
import { options } from './options.js';
import { add } from './queue.js';
import { makeLine, spread } from './transcript.js';
import { canRecord, microphone, recordingName } from './recording.js';
import { Steps } from './steps.js';
import { keep, put } from './store.js';
import { clock, t } from './words.js';

const RATE = 16_000; // Hz, what the model hears
const BLOCK = RATE / 10; // samples the worklet hands over at once
const LAST_WORDS_MS = 8000; // how long the last words may take after one has stopped

export class Talk {
	constructor() {
		this.log = h('div', { role: 'log', 'aria-live': 'polite', 'aria-relevant': 'additions', 'aria-label': t('What was said') });
		this.maybe = h('p.tentative', { dir: 'auto' }); // outside the log: it is taken back all the time
		this.level = h('i');
		this.time = h('span.clock');
		this.start = h('button.main', { onclick: () => (this.session ? this.stop() : this.begin()) }, t('Begin'));
		this.pause = h('button', { hidden: true, onclick: () => this.session?.pause(!this.session.paused) }, t('Pause'));
		this.trouble = h('p.wrong', { role: 'alert' });
		this.node = h('div.talk',
			h('h1', { tabIndex: -1 }, t('Talk, and read along')),
			h('div.talkbar', this.start, this.pause,
				h('div.meter', { role: 'img', 'aria-label': t('How loud it is') }, this.level), this.time),
			this.trouble, h('div.heard', this.log, this.maybe));
		this.trouble.textContent = canRecord();
		this.start.disabled = Boolean(this.trouble.textContent);
	}

	open() {}

	close() {
		this.session?.end();
	}

	async begin() {
		this.trouble.textContent = '';
		fill(this.log);
		try {
			this.session = await Session.start(this);
		} catch (cause) {
			if (cause.needsKey) askForKey(cause.message);
			this.trouble.textContent = cause.message;
			this.session = null;
			return;
		}
		this.start.textContent = t('Stop and keep');
		this.pause.hidden = false;
	}

	async stop() {
		const { session } = this;
		this.start.disabled = true;
		this.start.textContent = t('the last words');
		const kept = await session.finish();
		this.session = null;
		this.start.disabled = false;
		this.start.textContent = t('Begin');
		this.pause.hidden = true;
		if (kept) location.hash = kept;
	}

	loud(value) { this.level.style.transform = `scaleX(${Math.min(1, value * 1.6).toFixed(2)})`; }
	at(seconds) { this.time.textContent = clock(seconds); }
	paused(on) { this.pause.textContent = on ? t('Go on') : t('Pause'); }
	tentative(text) { this.maybe.textContent = text; }
	failed(text) { this.trouble.textContent = text; }

	committed(id, text) {
		let paragraph = this.log.querySelector(`[data-item="${CSS.escape(id)}"]`);
		if (!paragraph) {
			paragraph = h('p', { 'data-item': id, dir: 'auto' });
			this.log.append(paragraph);
		}
		paragraph.append(text); // a new text node: only what is new is read out
		if (this.node.getBoundingClientRect().bottom > innerHeight) scrollTo({ top: document.body.scrollHeight });
	}
}

class Session {
	blocks = [];
	items = new Map(); // id -> { start, end, text, done }
	samples = 0;
	paused = false;

	static async start(view) {
		const session = new Session();
		session.view = view;
		session.stream = await microphone();
		session.stream.getTracks()[0].onended = () => view.failed(t('The microphone is gone. What was said is kept when you stop.'));
		try {
			session.context = new AudioContext({ sampleRate: RATE });
			await session.context.audioWorklet.addModule(new URL('./pcm.js', import.meta.url))
				.catch(() => { throw new Error(t('The server cannot be reached.')); });
			if (facts().realtime) await session.connect().catch((cause) => { if (cause.needsKey || !facts().live) throw cause; });
			if (!session.id) session.steps = new Steps(session);
		} catch (cause) {
			session.end();
			throw cause;
		}
		const source = session.context.createMediaStreamSource(session.stream);
		session.node = new AudioWorkletNode(session.context, 'pcm', { numberOfOutputs: 0 });
		session.node.port.onmessage = ({ data }) => session.took(data);
		source.connect(session.node);
		session.awake();
		return session;
	}

	// Opens the socket, again if need be: the server holds a session for two minutes without one.
	async connect() {
		const pass = key() ? (await callJson('v1/realtime/client_secrets', { method: 'POST', json: {} })).value : '';
		const address = new URL('v1/realtime?intent=transcription', location.href);
		address.protocol = address.protocol.replace('http', 'ws');
		if (this.id) {
			address.searchParams.set('session_id', this.id);
			address.searchParams.set('after', this.last);
		}
		const socket = new WebSocket(address, ['realtime', ...(pass ? [`openai-insecure-api-key.${pass}`] : [])]);
		const created = await new Promise((ready, refused) => {
			socket.onmessage = ({ data }) => ready(JSON.parse(data));
			socket.onerror = socket.onclose = () => refused(new Error(t('The server does not take live sound at the moment.')));
		});
		socket.onerror = null;
		socket.onmessage = ({ data }) => this.heard(JSON.parse(data));
		socket.onclose = () => this.lost();
		this.socket = socket;
		this.sent = (created.session.x_received_bytes ?? 0) / 2;
		if (this.id) return this.pour();
		this.id = created.session.id;
		this.last = created.event_id;
		const wish = options();
		return this.send({
			type: 'session.update',
			session: {
				type: 'transcription', include: ['x_tentative', 'x_words'],
				audio: { input: {
					format: { type: 'audio/pcm', rate: RATE },
					transcription: { model: wish.model || 'whisper-1', language: wish.language || undefined, prompt: wish.prompt || undefined, ...(wish.hotwords && { keywords: wish.hotwords.split(',').map((w) => w.trim()).filter(Boolean) }) },
					turn_detection: { type: 'server_vad' },
				} },
			},
		});
	}

	get joined() { return this.socket?.readyState === WebSocket.OPEN; }

	send(event) {
		if (this.joined) this.socket.send(JSON.stringify(event));
	}

	pour() {
		for (let at = Math.floor(this.sent / BLOCK); at < this.blocks.length && this.joined; at++) {
			this.socket.send(this.blocks[at].subarray(this.sent - at * BLOCK));
			this.sent = (at + 1) * BLOCK;
		}
	}

	took({ samples, loudest }) {
		this.view.loud(this.paused ? 0 : loudest);
		if (this.paused) return;
		this.blocks.push(samples);
		this.samples += samples.length;
		this.view.at(this.samples / RATE);
		if (this.steps) this.steps.go();
		else this.pour();
	}

	sound(from, until) {
		const first = Math.floor(from / BLOCK);
		return new Blob(this.blocks.slice(first, Math.ceil(until / BLOCK))).slice((from - first * BLOCK) * 2, (until - first * BLOCK) * 2);
	}

	item(id) {
		if (!this.items.has(id)) this.items.set(id, { start: null, end: null, text: '', words: [], done: false });
		return this.items.get(id);
	}

	heard(event) {
		this.last = event.event_id ?? this.last;
		const kind = event.type.replace('conversation.item.input_audio_transcription.', '');
		if (kind === 'input_audio_buffer.speech_started') this.item(event.item_id).start = event.audio_start_ms / 1000;
		else if (kind === 'input_audio_buffer.speech_stopped') this.item(event.item_id).end = event.audio_end_ms / 1000;
		else if (kind === 'delta') this.add(event.item_id, event.delta);
		else if (kind === 'x_words') this.item(event.item_id).words.push(...event.words.map((w) => [w.word, w.start, w.end, w.probability]));
		else if (kind === 'x_tentative') this.view.tentative(event.text);
		else if (kind === 'completed') {
			Object.assign(this.item(event.item_id), { text: event.transcript, done: true });
			this.language ||= event.languages?.[0]?.code;
			this.view.tentative('');
			this.settled?.();
		} else if (kind === 'failed' || kind === 'error') this.view.failed(event.error?.message ?? '');
	}

	add(id, text) {
		const item = this.item(id);
		item.start ??= this.samples / RATE;
		item.text += text;
		if (text) this.view.committed(id, text);
	}

	pause(on) {
		this.paused = on;
		this.view.paused(on);
		if (on) this.steps ? this.steps.go(true) : this.send({ type: 'input_audio_buffer.commit' });
	}

	async lost() {
		this.view.failed(t('The connection broke. The recording goes on.'));
		for (let tries = 0; tries < 20 && !this.over; tries++) {
			await sleep(1500);
			try {
				await this.connect();
				return this.view.failed('');
			} catch (cause) {
				if (cause.needsKey) break;
			}
		}
		this.settled?.();
		return this.gaveUp();
	}

	gaveUp() {
		this.broken = true;
		this.view.failed(t('The recording goes on; it is written down when you stop.'));
	}

	async awake() {
		const hold = async () => (this.lock = await navigator.wakeLock?.request('screen').catch(() => null));
		this.seen = () => document.visibilityState === 'visible' && hold();
		document.addEventListener('visibilitychange', this.seen);
		await hold();
	}

	async finish() {
		this.hush();
		if (this.steps) {
			const done = await Promise.race([this.steps.go(true).then(() => true), sleep(LAST_WORDS_MS)]);
			this.broken ||= !done;
		} else if (!this.broken) {
			this.send({ type: 'input_audio_buffer.commit' });
			const open = () => !this.broken && ![...this.items.values()].every((i) => i.done);
			const until = performance.now() + LAST_WORDS_MS;
			await sleep(300);
			while (open() && performance.now() < until) {
				await new Promise((go) => { this.settled = go; setTimeout(go, 500); });
			}
			this.broken ||= open();
		}
		this.end();
		if (!this.samples) return '';
		const file = new Blob([wavHead(this.samples * 2, RATE), ...this.blocks], { type: 'audio/wav' });
		const name = recordingName(t('Talk'));
		const said = [...this.items.values()].filter((i) => i.text.trim());
		if (this.broken || !said.length) {
			add(file, { kind: 'live', name });
			return '#/';
		}
		const id = crypto.randomUUID?.() ?? String(Date.now());
		const duration = this.samples / RATE;
		await put('audio', id, file).catch(() => {});
		await keep({ id, name, kind: 'live', created: Date.now(), duration, language: this.language || options().language, task: 'transcribe', model: null, receipt: null, dropped: [], warnings: [], lines: said.map((i) => liveLine(i, duration)), wish: options() });
		say(t('{name} is written.', { name }));
		return `#/t/${id}`;
	}

	// No more sound; the order matters: a block that comes after the socket is closing is an error.
	hush() {
		if (this.node) this.node.port.onmessage = null;
		this.stream?.getTracks().forEach((track) => track.stop());
		this.view.loud(0);
	}

	end() {
		this.over = true;
		this.hush();
		document.removeEventListener('visibilitychange', this.seen);
		this.lock?.release();
		if (this.context?.state !== 'closed') this.context?.close();
		if (this.socket) {
			this.socket.onclose = this.socket.onmessage = null;
			this.socket.close();
		}
	}
}

// An utterance as a line: by its words' own times where they came, else by their length.
function liveLine(item, duration) {
	const text = item.words.map((w) => w[0]).join('').trim();
	const start = Math.min(item.start ?? item.words[0]?.[1] ?? 0, duration);
	const end = Math.min(item.end ?? item.words.at(-1)?.[2] ?? duration, duration);
	return makeLine(start, end, text === item.text.trim() ? item.words : spread(` ${item.text.trim()}`, start, end));
}
