// Every kind of call of the OpenAI SDK for Node; fails where an answer is not what the SDK's users expect.
// node openai_node.mjs http://127.0.0.1:8000 talk.wav
import assert from "node:assert/strict";
import fs from "node:fs";
import OpenAI from "openai";

const [address, recording] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: process.env.OPENAI_API_KEY ?? "none", maxRetries: 0 });
const ask = (more = {}) =>
  client.audio.transcriptions.create({ file: fs.createReadStream(recording), model: "whisper-1", ...more });

const plain = await ask();
assert.ok(plain.text.length > 0);
assert.equal(plain.usage.type, "duration");

for (const response_format of ["text", "srt", "vtt"]) {
  const body = await ask({ response_format });
  assert.equal(typeof body, "string");
  assert.ok(body.length > 0);
}

const verbose = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
assert.ok(verbose.words.length > 0 && verbose.segments.length > 0);

let deltas = "";
let done = null;
for await (const event of await ask({ stream: true })) {
  if (event.type === "transcript.text.delta") deltas += event.delta;
  if (event.type === "transcript.text.done") done = event.text;
}
assert.equal(deltas, done);
assert.equal(done, plain.text);

const translated = await client.audio.translations.create({
  file: fs.createReadStream(recording),
  model: "whisper-1",
});
assert.ok(translated.text.length > 0);

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.ok(names.includes("whisper-1"));

await assert.rejects(ask({ language: "hh" }), (error) => {
  assert.ok(error instanceof OpenAI.BadRequestError);
  assert.equal(error.code, "unknown_language");
  assert.equal(error.param, "language");
  assert.ok(error.requestID);
  return true;
});
await assert.rejects(ask({ model: "nonsense" }), OpenAI.NotFoundError);

console.log(plain.text);
