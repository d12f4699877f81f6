// The one way to the server. ApiErrors have the server's code; "offline" is ours.

import { sleep } from './dom.js';
import { key } from './key.js';
import { t } from './words.js';

export class ApiError extends Error {
	constructor(code, message, { status = 0, retryAfterS = 0 } = {}) {
		super(message);
		Object.assign(this, { code, status, retryAfterS });
	}
	get needsKey() { return this.status === 401 || this.code === 'insufficient_scope'; }
	get offline() { return this.code === 'offline'; }
	get passing() { return this.offline || ['overloaded', 'shutting_down', 'too_many_concurrent_requests', 'rate_limit_exceeded', 'cannot_finish_in_time'].includes(this.code); }
}

const authorised = (headers = {}) => (key() ? { ...headers, Authorization: `Bearer ${key()}` } : headers);

function failure(status, text, retryAfter) {
	let error = {};
	try { error = JSON.parse(text).error ?? {}; } catch { /* a proxy's page, not ours */ }
	return new ApiError(error.code ?? `http_${status}`, error.message ?? t('The server answered {status}.', { status }), {
		status, retryAfterS: Number(retryAfter) || 0,
	});
}

const gone = () => new ApiError('offline', t('The server cannot be reached.'));

export async function call(path, { method = 'GET', body, json, signal, headers } = {}) {
	let answer;
	try {
		answer = await fetch(path, {
			method, signal, cache: 'no-store',
			headers: authorised({ ...headers, ...(json ? { 'Content-Type': 'application/json' } : {}) }),
			body: json ? JSON.stringify(json) : body,
		});
	} catch (cause) {
		if (signal?.aborted) throw cause;
		throw gone();
	}
	if (!answer.ok) throw failure(answer.status, await answer.text().catch(() => ''), answer.headers.get('Retry-After'));
	return answer;
}

export const callJson = async (path, options) => (await call(path, options)).json();

// A growing text -> the data of its server-sent events.
export function eventReader(tell) {
	let rest = '';
	return (piece) => {
		const blocks = (rest + piece).split(/\r?\n\r?\n/);
		rest = blocks.pop();
		for (const block of blocks) {
			const data = block.split(/\r?\n/).filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart()).join('\n');
			if (data && data !== '[DONE]') tell(JSON.parse(data));
		}
	};
}

// XMLHttpRequest, because fetch does not tell how much of a body is sent.
export function send(path, body, { method = 'POST', headers = {}, onSent, onEvent, signal } = {}) {
	return new Promise((resolve, reject) => {
		const asked = new XMLHttpRequest();
		let read = 0;
		let broken = null;
		const feed = eventReader((event) => {
			if (event.error) broken = new ApiError(event.error.code, event.error.message, { status: 500 });
			else onEvent?.(event);
		});
		const take = () => {
			if (!onEvent || asked.status !== 200) return;
			feed(asked.responseText.slice(read));
			read = asked.responseText.length;
		};
		asked.open(method, path);
		for (const [name, value] of Object.entries(authorised(headers))) asked.setRequestHeader(name, value);
		asked.upload.onprogress = (e) => e.lengthComputable && onSent?.(e.loaded / e.total);
		asked.onprogress = take;
		asked.onload = () => {
			take();
			if (broken) reject(broken);
			else if (asked.status >= 200 && asked.status < 300) resolve(asked.responseText);
			else reject(failure(asked.status, asked.responseText, asked.getResponseHeader('Retry-After')));
		};
		asked.onerror = () => reject(gone());
		asked.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
		signal?.addEventListener('abort', () => asked.abort());
		if (signal?.aborted) asked.abort();
		else asked.send(body);
	});
}

export async function follow(path, onEvent, { signal } = {}) {
	const answer = await call(path, { signal, headers: { Accept: 'text/event-stream' } });
	const feed = eventReader(onEvent);
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			feed(value);
		}
	} catch (cause) {
		if (signal?.aborted) throw cause;
		throw gone();
	}
}

let known = {};
export const facts = () => known;
export const talks = () => known.realtime || known.live;
export async function learnFacts() {
	known = await callJson('page/facts');
	return known;
}

export async function serverBack() {
	for (let waitMs = 1000; ; waitMs = Math.min(10_000, waitMs * 1.5)) {
		await sleep(waitMs);
		try {
			await call('health/live');
			return;
		} catch (cause) {
			if (!cause.offline) return;
		}
	}
}
