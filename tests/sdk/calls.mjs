// Calls tools with the vendor's TypeScript SDK, with the recipe of the documentation imported first.
// Prints one line of JSON: the trace, and what the recipe's spans say.
import { trace } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';

const direct = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const { hostname } = new URL(input instanceof Request ? input.url : input);
  if (hostname !== '127.0.0.1' && hostname !== 'localhost') {
    console.error(`a connection beyond loopback: ${hostname}`);
    process.exit(70);
  }
  return direct(input, init);
};

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();
await import('./recipe.mjs');
const { Composio } = await import('@composio/core');

const composio = new Composio({
  apiKey: process.env.COMPOSIO_API_KEY,
  baseURL: process.env.COMPOSIO_BASE_URL,
  allowTracking: false,
  disableVersionCheck: true,
});
const traceId = await trace.getTracer('app').startActiveSpan('POST /triage', async (span) => {
  const session = await composio.create('user_ada');
  await Promise.all([1, 2, 3].map(() => session.execute('SLACK_SEND_MESSAGE', { channel: '#support' })));
  await session.execute('GMAIL_FETCH_EMAILS', { emulate: 'failure' });
  const tools = [{ tool_slug: 'GMAIL_FETCH_EMAILS', arguments: {} }];
  await session.execute('COMPOSIO_MULTI_EXECUTE_TOOL', { tools });
  span.end();
  return span.spanContext().traceId;
});
const calls = exporter
  .getFinishedSpans()
  .filter((span) => span.name.startsWith('execute_tool'))
  .map((span) => ({
    log_id: span.attributes['composio.log.id'],
    error: span.attributes['error.type'] ?? '',
    span_id: span.spanContext().spanId,
  }));
console.log(JSON.stringify({ trace_id: traceId, calls }));
