/** Traces as they are handed on, and the log lines that name them. */
import { trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { createLogger, withLogFields } from '../../platform/observability/logger';
import { readConfig } from '../../platform/process/config';
import { recordsTraces } from '../../platform/observability/trace-recording';
import {
  continueTrace,
  currentTraceHeaders,
  currentTraceparent,
  passTracesOn,
  publicationHeaders,
} from '../../platform/observability/tracing';

const one = '00-11111111111111111111111111111111-1111111111111111-01';
const other = '00-22222222222222222222222222222222-2222222222222222-01';
const work = { name: 'consume', kind: 'consumer' } as const;

beforeAll(() => passTracesOn({ recording: false }));

describe('without recording', () => {
  test('work of no trace has none, and makes no header', async () => {
    await continueTrace([undefined], work, async () => {
      expect(currentTraceHeaders()).toEqual({});
    });
    expect(publicationHeaders(undefined, { name: 'publish' })).toEqual({});
  });

  test('a trace is passed on as it came, also after waiting', async () => {
    await continueTrace([one], work, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      expect(currentTraceparent()).toBe(one);
    });
    expect(currentTraceparent()).toBeUndefined();
    expect(publicationHeaders(one, { name: 'publish' })).toEqual({ traceparent: one });
  });

  test('what is no traceparent is no trace', async () => {
    await continueTrace(['00-not-a-trace'], work, async () => {
      expect(currentTraceparent()).toBeUndefined();
    });
  });
});

describe('log lines', () => {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };

  test('tell the trace, the workflow and the event of the work that writes them', async () => {
    const logger = createLogger('test', 'info', destination);
    await continueTrace([one], work, async () =>
      withLogFields({ workflowId: 'order-1', runId: 'run', eventId: 'event' }, async () => {
        await Promise.resolve();
        logger.child({ requestId: 'request' }).info({ eventId: 'its own' }, 'within');
      }),
    );
    logger.info('outside');
    expect(lines[0]).toMatchObject({
      msg: 'within',
      trace_id: '1'.repeat(32),
      span_id: '1'.repeat(16),
      workflowId: 'order-1',
      runId: 'run',
      requestId: 'request',
      eventId: 'its own',
    });
    expect(Object.keys(lines[1]!)).toEqual(['level', 'time', 'pid', 'hostname', 'name', 'msg']);
  });
});

describe('with recording', () => {
  const exporter = new InMemorySpanExporter();

  beforeAll(() => {
    const spanProcessors = [new SimpleSpanProcessor(exporter)];
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));
  });

  afterEach(() => exporter.reset());

  test('work of one trace is a part of it', async () => {
    await continueTrace([undefined, one], work, async () => undefined);
    const [span] = exporter.getFinishedSpans();
    expect(span?.spanContext().traceId).toBe('1'.repeat(32));
    expect(span?.parentSpanId).toBe('1'.repeat(16));
  });

  test('work of several traces is one of its own, linked to each', async () => {
    await continueTrace([one, other], work, async () => undefined);
    const [span] = exporter.getFinishedSpans();
    expect(span?.parentSpanId).toBeUndefined();
    const linked = span?.links.map(({ context }) => context.traceId);
    expect(linked).toEqual(['1'.repeat(32), '2'.repeat(32)]);
  });

  test('a message is published as a child of what has written it', () => {
    const { traceparent } = publicationHeaders(one, { name: 'publish' });
    const [span] = exporter.getFinishedSpans();
    expect(traceparent).toBe(`00-${'1'.repeat(32)}-${span!.spanContext().spanId}-01`);
  });

  test('failed work is marked, and its error is rethrown', async () => {
    const failing = continueTrace([one], work, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(exporter.getFinishedSpans()[0]?.status).toEqual({ code: 2, message: 'Error: no' });
  });
});

test.each([
  [{}, false],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }, true],
  [{ OTEL_TRACES_EXPORTER: 'otlp' }, true],
  [{ OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }, false],
  [{ OTEL_TRACES_EXPORTER: 'otlp', OTEL_SDK_DISABLED: 'true' }, false],
])('the variables %j record traces: %s', (environment, expected) => {
  expect(recordsTraces(readConfig(environment))).toBe(expected);
});
