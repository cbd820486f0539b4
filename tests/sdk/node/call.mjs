// One call of the official SDK, driven by a test. The job comes as JSON in argv[2]; what the SDK gives
// goes out as JSON lines; the line "abort" on standard input aborts as a browser's stop button does.
import OpenAI from "openai";
import { createInterface } from "node:readline";

const job = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: job.base_url, apiKey: job.api_key, maxRetries: job.max_retries });
const controller = new AbortController();
const show = (value) => process.stdout.write(JSON.stringify(value) + "\n");

const input = createInterface({ input: process.stdin });
input.on("line", (line) => line === "abort" && controller.abort());

async function call() {
  const options = { signal: controller.signal };
  if (job.mode === "whole") {
    show({ message: await client.chat.completions.create(job.params, options) });
  } else if (job.mode === "stream") {
    const stream = await client.chat.completions.create(
      { ...job.params, stream: true },
      { ...options, headers: job.headers },
    );
    for await (const chunk of stream) show({ chunk });
  } else if (job.mode === "helper") {
    const stream = client.chat.completions.stream(job.params, options);
    show({ message: await stream.finalChatCompletion() });
  } else {
    const page = await client.models.list(options);
    show({ models: page.data.map((model) => model.id) });
  }
  show({ end: true });
}

call()
  .catch((error) =>
    show({ error: { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null, message: error.message } }),
  )
  .finally(() => input.close());
