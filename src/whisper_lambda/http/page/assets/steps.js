// Live captions where no socket is: each step carries the sound the last answer still wanted, and its token.

import { send } from './api.js';
import { sleep } from './dom.js';
import { askForKey } from './key.js';
import { formOf, options } from './options.js';
import { t } from './words.js';

const RATE = 16_000; // Hz
const NEWS = 0.8 * RATE; // samples worth a step
const MOST = 50 * RATE; // of one step: the server takes a minute

export class Steps {
	#under = null; // the walk that is under way
	#last = false; // commit everything with the next step
	#utterance = 0;

	constructor(session) {
		Object.assign(this, { session, from: 0, sent: 0 });
		this.#anew();
	}

	// Another session, from the sound not heard yet on.
	#anew() {
		this.name = crypto.randomUUID();
		this.token = '';
		this.base = this.sent = this.from;
	}

	// Do steps while there is news; `last`: all there is, leaving nothing tentative.
	go(last = false) {
		this.#last ||= last;
		this.#under ??= this.#walk().finally(() => (this.#under = null));
		return this.#under;
	}

	async #walk() {
		const { session } = this;
		let refused = 0;
		let lost; // not answered: it is if it is sent as it was
		while (!session.broken && (this.#last || session.samples - this.sent >= NEWS)) {
			const most = Math.min(session.samples, this.from + MOST);
			const [until, final] = lost || [most, this.#last && most === session.samples];
			if (final) this.#last = false;
			if (until === this.from) continue;
			try {
				await this.#step(until, final);
				refused = lost = 0;
				session.view.failed('');
			} catch (cause) {
				this.#last ||= final;
				lost = cause.offline && [until, final];
				session.view.failed(cause.offline ? t('The connection broke. The recording goes on.') : cause.message);
				if (cause.passing) await sleep(1500);
				else if (cause.needsKey || refused++) session.gaveUp();
				else this.#anew();
				if (cause.needsKey) askForKey(cause.message);
			}
		}
	}

	async #step(until, final) {
		const { model, language, prompt } = options();
		const fields = Object.entries(this.token ? { token: this.token } : { model, language, prompt }).filter(([, v]) => v);
		if (final) fields.push(['final', 'true']);
		const answer = JSON.parse(await send(`v1/live/${this.name}`, formOf([['encoding', 'pcm16'], ...fields], this.session.sound(this.from, until), 'pcm')));
		this.#tell(answer);
		Object.assign(this, { token: answer.token, sent: until, from: final ? until : this.base + Math.round(answer.audio_from_s * RATE) });
		if (final) this.#anew();
	}

	#tell({ events, committed, tentative, language }) {
		const { session } = this;
		const shift = this.base / RATE;
		const inOrder = [...events.map((e) => [e.at, e]), ...committed.map((w) => [w.start, w])].sort((a, b) => a[0] - b[0]);
		for (const [at, { type, word, start, end, probability }] of inOrder) {
			if (type === 'started') this.#utterance++;
			const id = `step${this.#utterance}`;
			const item = session.item(id);
			if (type === 'stopped') item.end = at + shift;
			else item.start ??= at + shift;
			if (type) continue;
			item.words.push([word, start + shift, end + shift, probability]);
			session.add(id, word);
		}
		session.language ||= language;
		session.view.tentative(tentative.text);
	}
}
