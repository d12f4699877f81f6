// A recording one can hear and see: an audio element, its peaks on a canvas.

import { h } from './dom.js';
import { clock, t } from './words.js';

const SPEEDS = [0.75, 1, 1.25, 1.5, 2];

export class Player {
	constructor({ onTime }) {
		this.audio = new Audio();
		this.audio.preload = 'metadata';
		this.peaks = null;
		this.length = 0;
		this.stopAt = Infinity;
		this.onTime = onTime;
		this.lasting = new AbortController();
		this.#build();
		const on = (name, work) => this.audio.addEventListener(name, work, { signal: this.lasting.signal });
		on('play', () => this.#moving());
		on('pause', () => this.#drawn());
		on('seeked', () => this.#moved());
		on('ended', () => this.#drawn());
		on('error', () => this.audio.getAttribute('src') && (this.unplayable = true));
		this.watch = new ResizeObserver(() => this.#paint());
		this.watch.observe(this.canvas);
		const scheme = matchMedia('(prefers-color-scheme: dark)');
		scheme.addEventListener('change', () => this.#paint(), { signal: this.lasting.signal });
		addEventListener('scheme', () => this.#paint(), { signal: this.lasting.signal });
	}

	#build() {
		this.canvas = h('canvas.wave', {
			tabIndex: 0, role: 'slider', 'aria-label': t('Place in the recording'), 'aria-valuemin': 0,
			onclick: (e) => this.seek(((e.clientX - this.canvas.getBoundingClientRect().left) / this.canvas.clientWidth) * this.length),
			onkeydown: (e) => {
				const by = { ArrowLeft: -5, ArrowRight: 5, PageUp: -30, PageDown: 30 }[e.key];
				if (by) this.seek(this.time + by);
				else if (e.key === 'Home') this.seek(0);
				else if (e.key === 'End') this.seek(this.length);
				else return;
				e.preventDefault();
				e.stopPropagation();
			},
		});
		this.button = h('button.play', { onclick: () => this.toggle() }, t('Play'));
		this.clock = h('span.clock');
		this.speed = h('button.speed', { 'aria-label': t('Speed'), onclick: () => this.faster(1) }, '1×');
		this.node = h('div.deck', { role: 'group', 'aria-label': t('Recording') }, this.button, this.canvas, this.clock, this.speed);
	}

	load(blob, seconds) {
		this.length = seconds;
		this.address = URL.createObjectURL(blob);
		this.audio.src = this.address;
		this.#drawn();
	}

	get loaded() { return Boolean(this.address); }
	get time() { return this.audio.currentTime; }
	get playing() { return !this.audio.paused && !this.audio.ended; }

	seek(seconds) {
		this.stopAt = Infinity;
		if (this.loaded) this.audio.currentTime = Math.max(0, Math.min(seconds, this.length || seconds));
		this.#moved();
	}

	play(from, until = Infinity) {
		if (!this.loaded) return;
		if (from !== undefined) this.seek(from);
		this.stopAt = until;
		this.audio.play().catch(() => {});
	}

	toggle() {
		if (this.playing) this.audio.pause();
		else this.play();
	}

	faster(step) {
		const at = SPEEDS.indexOf(this.audio.playbackRate);
		this.audio.playbackRate = SPEEDS[(at + step + SPEEDS.length) % SPEEDS.length];
		this.speed.textContent = `${this.audio.playbackRate}×`;
	}

	draw(peaks) {
		this.peaks = peaks;
		this.#paint();
	}

	close() {
		this.audio.pause();
		this.lasting.abort();
		this.watch.disconnect();
		this.audio.removeAttribute('src');
		if (this.address) URL.revokeObjectURL(this.address);
	}

	#moving() {
		const step = () => {
			if (this.time >= this.stopAt) this.audio.pause();
			this.#moved();
			if (this.playing && !this.lasting.signal.aborted) requestAnimationFrame(step);
		};
		this.#drawn();
		requestAnimationFrame(step);
	}

	#moved() {
		this.onTime(this.time, this.playing);
		this.#drawn();
	}

	// Both states of the whole wave, painted once; a moment later is then two copies.
	#paint() {
		const { clientWidth: wide, clientHeight: high } = this.canvas;
		if (!wide) return;
		const scale = devicePixelRatio || 1;
		this.canvas.width = wide * scale;
		this.canvas.height = high * scale;
		const values = this.peaks?.peaks ?? [];
		const loudest = values.reduce((m, v) => Math.max(m, v), 0.05);
		const covered = this.peaks && this.length ? values.length / this.peaks.per_second / this.length : 1;
		this.layers = ['wave', 'mark'].map((name) => {
			const layer = h('canvas', { width: this.canvas.width, height: this.canvas.height });
			const brush = layer.getContext('2d');
			this.canvas.style.color = `var(--${name})`; // only a real property is worked out
			brush.fillStyle = getComputedStyle(this.canvas).color;
			const bar = 3 * scale;
			for (let x = 0; x < layer.width; x += bar) {
				const part = values.slice(Math.floor((x / layer.width / covered) * values.length), Math.ceil(((x + bar) / layer.width / covered) * values.length));
				const tall = Math.max(scale, (part.reduce((m, v) => Math.max(m, v), 0) / loudest) * layer.height * 0.94);
				brush.fillRect(x, (layer.height - tall) / 2, bar - scale, tall);
			}
			return layer;
		});
		this.#drawn();
	}

	#drawn() {
		const said = `${clock(this.time)} / ${clock(this.length)}`;
		if (this.clock.textContent !== said) {
			this.clock.textContent = said;
			this.canvas.setAttribute('aria-valuenow', Math.round(this.time));
			this.canvas.setAttribute('aria-valuemax', Math.round(this.length));
			this.canvas.setAttribute('aria-valuetext', said);
		}
		const label = this.playing ? t('Pause') : t('Play');
		if (this.button.textContent !== label) this.button.textContent = label;
		if (!this.layers) return;
		const { width, height } = this.canvas;
		const at = Math.round((this.length ? this.time / this.length : 0) * width);
		const brush = this.canvas.getContext('2d');
		brush.clearRect(0, 0, width, height);
		if (at < width) brush.drawImage(this.layers[0], at, 0, width - at, height, at, 0, width - at, height);
		if (at > 0) brush.drawImage(this.layers[1], 0, 0, at, height, 0, 0, at, height);
	}
}
