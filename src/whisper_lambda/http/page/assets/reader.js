// One transcript: hear it, read along, correct it. Every change is a step one can take back.

import { ApiError, send } from './api.js';
import { $, ask, bdi, fill, h, say } from './dom.js';
import { askForKey } from './key.js';
import { characterAt, DOUBTFUL, Lines } from './lines.js';
import { modelChoices, fieldsOf, formOf, options, routeOf } from './options.js';
import { passage } from './opus.js';
import { outMenu } from './out.js';
import { Player } from './player.js';
import { add } from './queue.js';
import { receiptDialog, requestDialog } from './request.js';
import { get, keep, put } from './store.js';
import * as T from './transcript.js';
import { clock, languageName, t, when } from './words.js';

const SAVE_AFTER_MS = 600;
const QUIET = matchMedia('(prefers-reduced-motion: reduce)');

export class Reader {
	#saving;
	#spoken = '';
	#cursor = -1; // word of the current line

	constructor(doc) {
		T.countIdsFrom(doc.lines);
		this.doc = doc;
		this.steps = new T.Steps(doc.lines);
		this.lines = new Lines(doc);
		this.here = 0;
		this.follow = true;
		this.lasting = new AbortController();
		this.player = new Player({ onTime: (time, playing) => this.#heard(time, playing) });
		this.node = this.#build();
		this.#listen();
	}

	get all() { return this.steps.value; }
	get line() { return this.all[this.here]; }

	async open() {
		await this.lines.show(this.all, this.lasting.signal);
		this.#countDoubts();
		this.go(0, { focus: false, scroll: false });
		const audio = await get('audio', this.doc.id).catch(() => null);
		if (audio) await this.#load(audio);
		else this.#lost();
	}

	close() {
		clearTimeout(this.#saving);
		this.save();
		this.lasting.abort();
		this.player.close();
		this.lines.close();
	}

	#build() {
		const { doc } = this;
		const about = [languageName(doc.language), clock(doc.duration), doc.model?.served, when(doc.created)].filter(Boolean);
		const button = (text, work, more = {}) => h('button', { onclick: work, ...more }, text);
		this.tools = h('div.tools', { role: 'group', 'aria-label': t('This line') });
		this.finder = h('form.finder', { hidden: true, role: 'search', onkeydown: (e) => e.key === 'Escape' && this.find(), onsubmit: (e) => { e.preventDefault(); this.#next(1); } });
		this.doubts = h('button.doubts', { onclick: () => this.nextDoubt() });
		this.title = h('h1', { tabIndex: -1 }, bdi(doc.name));
		return h('article.sheet',
			h('header',
				this.title,
				h('p.about', about.join(' · ')),
				doc.model?.reason && h('p.note', t('{model} was asked for: {why}', { model: doc.model.requested, why: doc.model.reason })),
				doc.warnings.map((w) => h('p.note', w)),
				h('div.acts',
					outMenu(() => ({ ...doc, lines: this.all })),
					button(t('Find'), () => this.find()),
					button(t('Undo'), () => this.undo()),
					button(t('Hear all again'), () => this.again()),
					doc.request && button(t('The request'), () => requestDialog(doc)),
					doc.receipt && button(t('The receipt'), () => receiptDialog(doc)),
					this.doubts)),
			this.finder, this.lines.list,
			!doc.lines.length && h('p.empty', t('Nobody speaks in this recording, as far as was heard.')),
			this.player.node);
	}

	#listen() {
		const { signal } = this.lasting;
		const list = this.lines.list;
		list.addEventListener('click', (e) => this.#clicked(e), { signal });
		list.addEventListener('dblclick', (e) => {
			const said = e.target.closest('.said');
			if (said) this.edit(characterAt(e.clientX, e.clientY, said));
		}, { signal });
		list.addEventListener('focusin', (e) => {
			const index = this.#indexOf(e.target);
			if (index >= 0 && index !== this.here) this.go(index, { focus: false, scroll: false });
		}, { signal });
		addEventListener('pagehide', () => this.save(), { signal });
		document.addEventListener('visibilitychange', () => document.hidden && this.save(), { signal });
		addEventListener('wheel', () => (this.follow = false), { signal, passive: true });
		addEventListener('touchmove', () => (this.follow = false), { signal, passive: true });
	}

	#indexOf(target) {
		const id = target.closest?.('li')?.dataset.id;
		return id ? this.all.findIndex((l) => l.id === id) : -1;
	}

	async #load(audio) {
		this.audio = audio;
		this.player.load(audio, this.doc.duration);
		if (!this.doc.peaks) {
			try {
				const form = new FormData();
				form.append('file', audio, 'recording');
				this.doc.peaks = JSON.parse(await send('v1/audio/peaks', form, { signal: this.lasting.signal }));
				if (!this.lasting.signal.aborted) await put('transcripts', this.doc.id, this.#current());
			} catch {
				// without a picture the recording can still be heard
			}
		}
		if (this.doc.peaks) this.player.draw(this.doc.peaks);
	}

	#lost() {
		const pick = h('input', { type: 'file', id: 'found', accept: 'audio/*,video/*', onchange: async () => {
			const [file] = pick.files;
			if (!file) return;
			await put('audio', this.doc.id, file).catch(() => {});
			fill(this.player.node, this.player.button, this.player.canvas, this.player.clock, this.player.speed);
			await this.#load(file);
		} });
		fill(this.player.node, h('label', { for: 'found' }, t('The recording is not kept here. Choose it to hear it:')), ' ', pick);
	}

	// Where the recording is: the word is marked, the line kept in sight while it plays.
	#heard(time, playing) {
		const index = T.lineAt(this.all, time);
		const line = this.all[index];
		const word = line ? T.wordAt(line, time) : -1;
		const spoken = line ? `${line.id} ${word}` : '';
		if (spoken === this.#spoken) return;
		this.#spoken = spoken;
		this.lines.speak(line, word);
		if (playing && line && index !== this.here && !this.editing) this.go(index, { focus: false, scroll: this.follow });
		this.#cursor = word;
	}

	#clicked(e) {
		const li = e.target.closest('li');
		if (!li || this.editing?.contains(e.target) || e.target.closest('.tools')) return;
		const at = e.target.closest('.at');
		if (at?.dataset.from) {
			this.player.play(Number(at.dataset.from), Number(at.dataset.until));
			return;
		}
		const index = this.#indexOf(li);
		if (index < 0) return;
		if (this.editing) this.leave();
		this.go(index, { scroll: false, focus: !e.target.closest('.said') });
		if (at) this.player.play(this.line.start);
		else if (e.target.closest('.who')) this.name();
		else if (e.target.closest('.said') && getSelection().isCollapsed) this.#hear(characterAt(e.clientX, e.clientY, e.target.closest('.said')));
	}

	#hear(character) {
		const word = character < 0 ? 0 : T.wordPlaces(this.line).findIndex(([, end]) => character <= end);
		const [, start] = this.line.words[word] ?? [];
		if (start !== undefined) {
			this.follow = true;
			this.player.play(start);
		}
	}

	go(index, { focus = true, scroll = true } = {}) {
		if (!this.all.length) return;
		const before = this.line && this.lines.node(this.line.id);
		before?.classList.remove('here');
		before?.querySelector('.at')?.setAttribute('tabindex', '-1');
		this.here = Math.max(0, Math.min(index, this.all.length - 1));
		const node = this.lines.node(this.line.id);
		if (!node) return;
		node.classList.add('here');
		const at = node.querySelector('.at');
		at.tabIndex = 0;
		this.#equip(node);
		if (focus) at.focus({ preventScroll: true });
		if (scroll) this.#inSight(node);
	}

	#inSight(node) {
		const { top, bottom } = node.getBoundingClientRect();
		if (top < 90 || bottom > innerHeight - 150) node.scrollIntoView({ block: 'center', behavior: QUIET.matches || !this.player.playing ? 'auto' : 'smooth' });
	}

	#equip(node) {
		const button = (text, work, title) => h('button', { title, onclick: work }, text);
		if (!this.tools.childElementCount) {
			fill(this.tools,
				button(t('Edit'), () => this.edit(), 'Enter'), button(t('Split'), () => this.split(), 'S'), button(t('Join'), () => this.join(), 'J'),
				button(t('Speaker'), () => this.name(), 'N'), button(t('Shift'), () => this.shiftDialog(), '[ ]'),
				button(t('Hear again'), () => this.rehear(), 'R'), button(t('Delete'), () => this.erase(), 'Ctrl ⌫'));
		}
		if (this.tools.parentNode !== node) node.append(this.tools);
	}

	change(lines, what) {
		if (!this.steps.take(lines, what)) return;
		this.#shown(what);
	}

	#shown(what) {
		const at = this.line?.id;
		this.lines.show(this.all);
		this.#spoken = '';
		this.go(Math.max(0, Math.min(this.here, this.all.length - 1)), { focus: Boolean(at) && this.lines.list.contains(document.activeElement), scroll: true });
		this.#countDoubts();
		if (!this.finder.hidden) this.#search();
		if (what) say(what);
		clearTimeout(this.#saving);
		this.#saving = setTimeout(() => this.save(), SAVE_AFTER_MS);
		this.dirty = true;
	}

	#current() { return { ...this.doc, lines: this.all }; }

	async save() {
		if (!this.dirty) return;
		this.dirty = false;
		await keep(this.#current()).catch(() => say(t('This browser keeps nothing: export before you leave.'), { alert: true }));
	}

	undo() {
		const what = this.steps.undo();
		if (what) this.#shown(t('Taken back: {what}', { what }));
		else say(t('There is nothing to take back.'));
	}

	redo() {
		const what = this.steps.redo();
		if (what) this.#shown(t('Done again: {what}', { what }));
	}

	// correcting

	edit(character = -1) {
		if (this.editing || !this.line) return;
		const said = this.lines.text(this.line.id);
		this.editing = said;
		said.contentEditable = 'plaintext-only';
		said.setAttribute('role', 'textbox');
		said.setAttribute('aria-label', t('Text of the line at {time}', { time: clock(this.line.start) }));
		said.focus();
		const text = said.firstChild;
		const place = character >= 0 ? character : (T.wordPlaces(this.line)[this.#wordHere()]?.[0] ?? 0);
		if (text) getSelection().collapse(text, Math.min(place, text.length));
		const stop = new AbortController();
		said.addEventListener('keydown', (e) => this.#typed(e), { signal: stop.signal });
		said.addEventListener('blur', () => this.leave({ focus: false }), { signal: stop.signal });
		this.ended = stop;
	}

	#wordHere() {
		return this.#spoken.startsWith(`${this.line?.id} `) ? this.#cursor : -1;
	}

	// Ends the editing; what was typed becomes the line's text.
	leave({ focus = true } = {}) {
		const said = this.editing;
		if (!said) return;
		this.editing = null;
		this.ended.abort();
		for (const name of ['contenteditable', 'role', 'aria-label']) said.removeAttribute(name);
		const text = said.textContent.replace(/\s+/g, ' ').trim();
		const { line } = this;
		if (text === T.lineText(line)) said.textContent = text; // one text node again
		else if (text) this.change(T.replaceLine(this.all, this.here, T.retold(line, text)), t('text changed'));
		else this.erase();
		if (focus) this.go(this.here);
	}

	#typed(e) {
		const caret = () => {
			const range = document.createRange();
			range.selectNodeContents(this.editing);
			const { focusNode, focusOffset } = getSelection();
			range.setEnd(focusNode, focusOffset);
			return range.toString().length;
		};
		if (e.key === 'Enter' && !e.isComposing) {
			e.preventDefault();
			const at = caret();
			this.leave({ focus: false });
			if (e.ctrlKey || e.metaKey) this.go(this.here + 1);
			else this.#splitAt(at, { edit: true });
		} else if (e.key === 'Escape') {
			e.preventDefault();
			this.leave();
		} else if (e.key === 'Backspace' && caret() === 0 && getSelection().isCollapsed && this.here > 0) {
			e.preventDefault();
			this.leave({ focus: false });
			const before = T.lineText(this.all[this.here - 1]).length;
			this.here -= 1;
			this.change(T.join(this.all, this.here), t('lines joined'));
			this.edit(before + 1);
		} else if ((e.ctrlKey || e.metaKey) && e.key === ' ') {
			e.preventDefault();
			this.player.toggle();
		}
		e.stopPropagation();
	}

	#splitAt(character, { edit = false } = {}) {
		const word = T.wordPlaces(this.line).findIndex(([begin]) => begin >= character);
		const lines = T.split(this.all, this.here, word);
		if (lines === this.all) return this.go(this.here);
		this.change(lines, t('line split'));
		this.go(this.here + 1);
		if (edit) this.edit(0);
	}

	split() {
		const word = this.#wordHere();
		const lines = T.split(this.all, this.here, word > 0 ? word : Math.ceil(this.line.words.length / 2));
		this.change(lines, t('line split'));
	}

	join() { this.change(T.join(this.all, this.here), t('lines joined')); }
	erase() { this.change(T.erase(this.all, this.here), t('line deleted')); }
	shift(seconds, following = false) { this.change(T.shift(this.all, this.here, seconds, { following }), t('times shifted')); }

	async shiftDialog() {
		const by = h('input', { id: 'by', type: 'number', step: '0.1', value: '0.5', required: true });
		const following = h('input', { type: 'checkbox' });
		const sure = await ask(t('Shift times'), t('Shift'), h('label', { for: 'by' }, t('Seconds, with a minus for earlier')), by,
			h('label.check', following, t('and all lines that follow')));
		if (sure) this.shift(by.valueAsNumber || 0, following.checked);
	}

	async name() {
		const before = this.line.who;
		const known = [...new Set(this.all.map((l) => l.who).filter(Boolean))];
		const field = h('input', { id: 'who', value: before, autocomplete: 'off', maxLength: 80, list: 'whos' });
		const everywhere = h('input', { type: 'checkbox', checked: Boolean(before) });
		const sure = await ask(t('Speaker'), t('Name'), h('label', { for: 'who' }, t('Name')), field,
			h('datalist', { id: 'whos' }, known.map((value) => h('option', { value }))),
			before && h('label.check', everywhere, t('wherever {name} speaks', { name: before })));
		if (sure) this.change(T.nameSpeaker(this.all, this.here, field.value.trim(), { everywhere: everywhere.checked }), t('speaker named'));
	}

	// hearing again

	async rehear() {
		const { line } = this;
		if (!this.audio) return say(t('The recording is needed for this.'), { alert: true });
		const models = modelChoices();
		const pick = h('select', { id: 'with' }, models.map(([v, l]) => h('option', { value: v, selected: v === this.doc.wish?.model }, l)));
		const sure = await ask(t('Hear this passage again'), t('Hear again'), h('p', h('q', { dir: 'auto' }, T.lineText(line).slice(0, 200))),
			h('label', { for: 'with' }, t('Model')), pick);
		if (!sure) return undefined;
		const node = this.lines.node(line.id);
		node?.classList.add('busy');
		say(t('Hearing it again'));
		try {
			await this.#reheard(line, { ...(this.doc.wish ?? options()), model: pick.value, quality: 'best', channels: false, language: this.doc.wish?.language || this.doc.language });
		} catch (cause) {
			if (cause instanceof ApiError && cause.needsKey) askForKey(cause.message);
			say(cause.message, { alert: true });
		} finally {
			node?.classList.remove('busy');
		}
		return undefined;
	}

	async #reheard(line, wish) {
		const from = Math.max(0, line.start - 0.2);
		const clip = await passage(this.audio, from, Math.min(this.doc.duration, line.end + 0.3));
		if (!clip) throw new Error(t('This browser cannot cut this recording: hear all of it again.'));
		const answer = JSON.parse(await send(routeOf(wish).slice(1), formOf(fieldsOf(wish), clip, 'passage.wav')));
		const index = this.all.findIndex((l) => l.id === line.id);
		const heard = T.linesFrom(answer).map((l) => ({ ...T.shift([l], 0, from)[0], who: line.who }));
		if (index < 0 || !heard.length) throw new Error(t('Nothing was heard there this time.'));
		this.here = index;
		this.change(T.replaceLine(this.all, index, ...heard), t('heard again with {model}', { model: answer.x_model?.served ?? wish.model }));
	}

	again() {
		if (!this.audio) return say(t('The recording is needed for this.'), { alert: true });
		add(this.audio, { name: this.doc.name, kind: this.doc.kind, wish: options() });
		location.hash = '#/';
		return undefined;
	}

	// finding

	#countDoubts() {
		const count = this.all.reduce((n, l) => n + l.words.filter((w) => w[3] < DOUBTFUL).length, 0);
		this.doubts.textContent = t('Doubtful words: {n}', { n: count });
		this.doubts.hidden = !count;
	}

	nextDoubt() {
		const from = this.#wordHere();
		for (let step = 0; step <= this.all.length; step++) {
			const index = (this.here + step) % this.all.length;
			const word = this.all[index].words.findIndex((w, i) => w[3] < DOUBTFUL && (step || i > from));
			if (word < 0) continue;
			this.go(index);
			return this.#toWord(word);
		}
	}

	#toWord(at) {
		const time = this.line.words[at][1] + 0.001;
		this.player.seek(time);
		if (!this.player.loaded) this.#heard(time, false);
	}

	find() {
		const bar = this.finder;
		if (!bar.childElementCount) {
			const field = (id, label, more = {}) => [h('label', { for: id }, label), h('input', { id, autocomplete: 'off', ...more })];
			this.count = h('small.count', { role: 'status' });
			fill(bar, h('span', field('seek', t('Find'), { type: 'search', oninput: () => this.#search() }), h('button', t('Next')), this.count),
				h('span', field('with-what', t('Replace by')), h('button', { type: 'button', onclick: () => this.#replace() }, t('Replace all'))),
				h('button', { type: 'button', onclick: () => this.find() }, t('Close')));
		}
		bar.hidden = !bar.hidden;
		if (!bar.hidden) return $('#seek', bar).focus();
		this.lines.find([], []);
		this.go(this.here);
	}

	#search() {
		this.finds = T.findAll(this.all, $('#seek', this.finder).value);
		this.count.textContent = t('{n} found', { n: this.finds.length });
		this.lines.find(this.all, this.finds);
	}

	#next(step) {
		if (!this.finds?.length) return;
		const after = this.finds.findIndex(([i]) => i > this.here);
		const at = after < 0 ? 0 : after + step - 1;
		this.go(this.finds[at % this.finds.length][0], { focus: false });
	}

	#replace() {
		const count = this.finds?.length ?? 0;
		const by = $('#with-what', this.finder).value;
		this.change(T.replaceAll(this.all, $('#seek', this.finder).value, by), t('{n} replaced', { n: count }));
	}

	// keys

	key(e) {
		const ctrl = e.ctrlKey || e.metaKey;
		if (ctrl && e.key.toLowerCase() === 'z') e.shiftKey ? this.redo() : this.undo();
		else if (ctrl && e.key.toLowerCase() === 'y') this.redo();
		else if (ctrl && e.key.toLowerCase() === 'f') this.find();
		else if (ctrl && (e.key === 'Backspace' || e.key === 'Delete')) this.erase();
		else if (ctrl || e.altKey) return false;
		else return this.#plainKey(e);
		return true;
	}

	#plainKey(e) {
		const onButton = e.target.matches?.('button:not(.at), summary, a');
		const word = (step) => this.#toWord(Math.max(0, Math.min(this.line.words.length - 1, this.#wordHere() + step)));
		const keys = {
			ArrowDown: () => this.go(this.here + 1), ArrowUp: () => this.go(this.here - 1),
			ArrowRight: () => word(1), ArrowLeft: () => word(-1),
			Home: () => this.go(0), End: () => this.go(this.all.length - 1),
			...(onButton ? {} : { ' ': () => this.player.toggle(), Enter: () => this.edit() }),
			p: () => this.player.play(this.line.start, this.line.end), k: () => this.player.toggle(),
			',': () => this.player.seek(this.player.time - 3), '.': () => this.player.seek(this.player.time + 3),
			'<': () => this.player.faster(-1), '>': () => this.player.faster(1),
			e: () => this.edit(), s: () => this.split(), j: () => this.join(), n: () => this.name(), r: () => this.rehear(),
			d: () => this.nextDoubt(), f: () => (this.follow = true), '/': () => this.find(),
			'[': () => this.shift(-0.1), ']': () => this.shift(0.1), '{': () => this.shift(-0.1, true), '}': () => this.shift(0.1, true),
		};
		const work = keys[e.key] ?? keys[e.key.toLowerCase()];
		if (!work || !this.line) return false;
		work();
		return true;
	}
}
