// Files on their way to being transcripts. They survive a reload, long ones as jobs of the server.

import { call, callJson, facts, follow, send, serverBack } from './api.js';
import { sleep } from './dom.js';
import { askForKey } from './key.js';
import { fieldsOf, formOf, options, routeOf } from './options.js';
import { compressed, secondsOf } from './opus.js';
import { get, keep, put, remove, all } from './store.js';
import { linesFrom } from './transcript.js';
import { clock, t } from './words.js';

const LONG_S = 120; // as the server's own rooms for short and long ones
const LONG_BYTES = 4_000_000; // where a length cannot be told
const AT_ONCE = 2;

export const queue = new EventTarget();
const items = new Map(); // id -> item
export const queued = () => [...items.values()];
const told = (item) => queue.dispatchEvent(new CustomEvent('change', { detail: item }));

function change(item, values) {
	Object.assign(item, values);
	told(item);
}

const lasting = ({ id, name, size, wish, job, created, kind, state, error }) =>
	({ id, name, size, wish, job, created, kind, error, state: state === 'failed' || state === 'key' ? state : 'waiting' });
const remember = (item) => put('queue', item.id, lasting(item)).catch(() => {});

export function add(file, { kind = 'file', name = file.name || t('Recording'), wish = options() } = {}) {
	const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
	const item = { id, name, size: file.size, wish, kind, created: Date.now(), state: 'waiting', file, stop: new AbortController() };
	items.set(id, item);
	told(item);
	item.saved = put('audio', id, file).catch(() => (item.unsaved = true)).then(() => remember(item));
	turn();
	return item;
}

export async function resume() {
	for (const saved of await all('queue')) {
		if (items.has(saved.id)) continue;
		items.set(saved.id, { ...saved, stop: new AbortController() });
		told(items.get(saved.id));
	}
	turn();
}

export function adopt(job) {
	const known = queued().find((item) => item.job === job);
	if (known) return known;
	const item = { id: `job-${job}`, name: job, size: 0, wish: options(), kind: 'file', created: Date.now(), job, state: 'waiting', stop: new AbortController() };
	items.set(item.id, item);
	told(item);
	remember(item);
	turn();
	return item;
}

export function retry(item) {
	item.stop = new AbortController();
	if (item.error?.code !== 'offline') item.job = undefined;
	change(item, { state: 'waiting', error: undefined });
	remember(item);
	turn();
}

export async function cancel(item) {
	item.stop.abort();
	if (item.job) call(`v1/jobs/${item.job}`, { method: 'DELETE' }).catch(() => {});
	items.delete(item.id);
	change(item, { state: 'cancelled' });
	await Promise.all([remove('queue', item.id), remove('audio', item.id)]).catch(() => {});
	turn();
}

export function dismiss(item) {
	items.delete(item.id);
	change(item, { state: 'gone' });
}

const working = (item) => ['reading', 'packing', 'sending', 'listening', 'offline'].includes(item.state);

function turn() {
	let free = AT_ONCE - queued().filter((i) => working(i) && !i.job).length;
	for (const item of queued()) {
		if (item.state !== 'waiting' || (!item.job && free <= 0)) continue;
		if (!item.job) free--;
		change(item, { state: 'reading' });
		work(item);
	}
}

async function work(item) {
	try {
		const doc = await heard(item);
		await keep(doc);
		await remove('queue', item.id).catch(() => {});
		change(item, { state: 'done', doc: doc.id, duration: doc.duration, model: doc.model });
	} catch (cause) {
		await stumbled(item, cause);
	}
	turn();
}

async function stumbled(item, cause) {
	if (item.stop.signal.aborted) return;
	const error = { code: cause.code ?? 'page', message: cause.message };
	if (cause.needsKey) {
		change(item, { state: 'key', error });
		remember(item);
		askForKey(cause.code === 'missing_api_key' ? '' : t('The server refused this key: {why}', { why: cause.message }));
	} else if (cause.passing) {
		change(item, { state: 'offline', error });
		if (cause.offline) await serverBack();
		else await sleep(Math.max(2, cause.retryAfterS) * 1000);
		if (!item.stop.signal.aborted) change(item, { state: 'waiting', error: undefined });
	} else {
		if (!cause.code) console.warn(cause);
		change(item, { state: 'failed', error });
		remember(item);
	}
}

addEventListener('key', () => queued().filter((i) => i.state === 'key').forEach(retry));

async function heard(item) {
	if (item.job) return job(item);
	item.file ??= await get('audio', item.id);
	if (!item.file) throw Object.assign(new Error(t('The file is no longer here: add it again.')), { code: 'lost' });
	item.duration = item.seconds ?? (await secondsOf(item.file));
	const limit = (facts().max_upload_mb ?? 25) * 1e6;
	let long = item.duration ? item.duration > LONG_S : item.file.size > LONG_BYTES;
	item.sent = item.file;
	if (item.file.size > limit && !(long && facts().jobs && facts().uploads)) {
		change(item, { state: 'packing', share: 0 });
		item.sent = (await compressed(item.file, { channels: item.wish.channels, tell: (share) => change(item, { share }), signal: item.stop.signal })) ?? item.file;
	}
	long ||= item.sent.size > limit && facts().uploads;
	if (long && facts().jobs) {
		try {
			return await job(item);
		} catch (cause) {
			if (item.job || cause.code !== 'insufficient_scope') throw cause; // else no jobs for this key, or for strangers
		}
	}
	return direct(item);
}

async function direct(item) {
	const fields = fieldsOf(item.wish, [['stream', 'true']]);
	const began = { at: 0 };
	let done = null;
	change(item, { state: 'sending', share: 0 });
	await send(routeOf(item.wish).slice(1), formOf(fields, item.sent, item.name), {
		signal: item.stop.signal,
		onSent: (share) => {
			began.at ||= share >= 1 ? performance.now() : 0;
			change(item, share >= 1 ? { state: 'listening' } : { share });
		},
		onEvent: (event) => {
			if (event.type === 'transcript.text.delta') {
				item.duration = event.x_duration;
				reached(item, event.x_end, began.at, event.delta);
			} else if (event.type === 'transcript.text.done') done = event;
		},
	});
	if (!done) throw Object.assign(new Error(t('The answer ended early.')), { code: 'offline', passing: true, offline: true });
	return docOf(item, done, { route: routeOf(item.wish), fields });
}

function reached(item, doneS, since, delta) {
	const spent = (performance.now() - since) / 1000;
	const eta = doneS > 0 && item.duration ? (spent / doneS) * (item.duration - doneS) : undefined;
	change(item, { state: 'listening', done: doneS, eta, preview: ((item.preview ?? '') + delta).slice(-240) });
}

async function job(item) {
	const signal = item.stop.signal;
	const fields = [...fieldsOf(item.wish), ...(item.wish.task === 'translate' ? [['task', 'translate']] : [])];
	if (!item.job) {
		const headers = { 'Idempotency-Key': item.id };
		change(item, { state: 'sending', share: 0 });
		const answer = facts().uploads ? await uploaded(item, fields, headers) : JSON.parse(await send('v1/jobs', formOf(fields, item.sent, item.name), {
			headers, signal, onSent: (share) => change(item, { share }),
		}));
		change(item, { job: answer.id, state: 'listening' });
		await item.saved;
		remember(item);
	}
	const path = `v1/jobs/${encodeURIComponent(item.job)}`;
	const began = { at: performance.now(), from: undefined };
	change(item, { state: 'listening', preview: '' });
	for (;;) {
		const state = await callJson(path, { signal });
		progressed(item, state, began);
		if (state.status === 'completed') break;
		if (state.status === 'failed') throw Object.assign(new Error(state.error?.message ?? t('The job failed.')), { code: state.error?.code ?? 'job_failed' });
		if (state.status === 'cancelled') throw Object.assign(new Error(t('The job was cancelled.')), { code: 'job_cancelled' });
		await follow(`${path}/events`, (event) => {
			if (event.type === 'transcript.segment') item.preview = ((item.preview ?? '') + ((event.segment ?? event).text ?? '')).slice(-240);
			if (event.type === 'job.progress' || event.progress) progressed(item, event.job ?? event, began);
			else told(item);
		}, { signal });
		await sleep(300);
	}
	const result = await callJson(`${path}/result?format=verbose_json&timestamp_granularities[]=word&timestamp_granularities[]=segment`, { signal });
	return docOf(item, result, { route: '/v1/jobs', fields, job: item.job });
}

function progressed(item, { progress }, began) {
	if (!progress) return;
	const { audio_s: duration, done_s: done, eta_s: told_s } = progress;
	began.from ??= done ?? 0;
	const spent = (performance.now() - began.at) / 1000;
	const eta = told_s ?? (done > began.from ? (spent / (done - began.from)) * (duration - done) : undefined);
	change(item, { state: 'listening', duration: duration || item.duration, done, eta });
}

async function uploaded(item, fields, headers) {
	const { signal } = item.stop;
	const place = await callJson('v1/uploads', { method: 'POST', json: { size_bytes: item.sent.size, content_type: item.sent.type || undefined }, signal });
	await send(sameSite(place.url), item.sent, {
		method: place.method ?? 'PUT', headers: place.headers ?? {}, signal, onSent: (share) => change(item, { share }),
	});
	const json = { upload: place.id };
	for (const [name, value] of fields) {
		const plain = name.replace('[]', '');
		json[plain] = name.endsWith('[]') ? [...(json[plain] ?? []), value] : value;
	}
	return callJson('v1/jobs', { method: 'POST', json, headers, signal });
}

function sameSite(url) {
	const address = new URL(url, location.href);
	return address.host === location.host || address.pathname.startsWith('/v1/') ? address.pathname + address.search : address.href;
}

export function docOf(item, answer, request) {
	return {
		id: item.id, name: item.name, kind: item.kind, created: item.created, duration: answer.duration,
		language: answer.x_language_code ?? answer.language ?? '', task: answer.task ?? item.wish.task, model: answer.x_model ?? null,
		receipt: answer.x_receipt ?? null, dropped: answer.x_dropped ?? [], warnings: answer.x_warnings ?? [],
		lines: linesFrom(answer), request, wish: item.wish, size: item.size,
	};
}

export function stateText(item) {
	const n = Math.round((item.share ?? 0) * 100);
	const plain = {
		waiting: t('waiting'), reading: t('reading'), packing: t('making it smaller, {n} %', { n }), sending: t('sending, {n} %', { n }),
		key: t('needs a key'), failed: t('failed'), done: t('done'),
		offline: item.error?.code === 'offline' ? t('waiting for the server to come back') : t('the server is busy; trying again'),
	}[item.state];
	if (plain) return plain;
	if (item.state !== 'listening') return '';
	if (!item.done || !item.duration) return item.job ? t('a job of the server, about to begin') : t('listening');
	const heardSoFar = t('{done} of {all} heard', { done: clock(item.done), all: clock(item.duration) });
	return item.eta === undefined ? heardSoFar : `${heardSoFar}, ${t('{eta} to go', { eta: clock(item.eta) })}`;
}
