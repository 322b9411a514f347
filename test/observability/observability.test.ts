/**
 * The dashboard and the alert rules use only metrics and labels that exist, and use each in the way
 * that its kind allows. The metrics of Temporal's runtime are known only from a scrape: those are
 * looked at in test/integration/prometheus-endpoints.test.ts.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import {
  createCollectorAuditActivities,
  type CollectorAuditDependencies,
} from '../../activities/collector/delivery-audit';
import {
  createShopAuditActivities,
  type ShopAuditDependencies,
} from '../../activities/commerce/delivery-audit';
import { activityDuration, metricsRegistry } from '../../platform/observability/telemetry';
import {
  alertQueries,
  dashboardQueries,
  readAlerts,
  readDashboard,
  readScrapeConfiguration,
  type Panel,
  type Query,
} from '../../testkit/observability-files';
import { PromQLSyntaxError, readSelectors, type Selector } from '../../testkit/promql';

interface Metric {
  readonly kind: 'counter' | 'gauge';
  readonly labels: readonly string[];
}

/** What Prometheus puts on everything that it collects. */
const targetLabels = ['job', 'instance'];
const queries = [...dashboardQueries(), ...alertQueries()];
const jobs = readScrapeConfiguration().scrape_configs.map(({ job_name: name }) => name);

/** With that of `npm run collector`, which takes the place of two others. */
const everyJob = [...jobs, 'commerce-collector'];
let metrics: ReadonlyMap<string, Metric>;

beforeAll(async () => {
  const nodeRegistry = new Registry();
  collectDefaultMetrics({ register: nodeRegistry });
  const declared = await Promise.all([metricsRegistry, nodeRegistry].map(metricsOf));
  metrics = new Map([...declared.flat(), ['up', { kind: 'gauge', labels: [] }]]);
});

async function metricsOf(registry: Registry): Promise<[string, Metric][]> {
  return (await registry.getMetricsAsJSON()).flatMap(({ name, type }): [string, Metric][] => {
    const { labelNames = [] } = registry.getSingleMetric(name) as { labelNames?: string[] };
    const kind = String(type) === 'gauge' ? 'gauge' : 'counter';
    if (String(type) !== 'histogram') return [[name, { kind, labels: labelNames }]];
    return [
      [`${name}_bucket`, { kind, labels: [...labelNames, 'le'] }],
      [`${name}_sum`, { kind, labels: labelNames }],
      [`${name}_count`, { kind, labels: labelNames }],
    ];
  });
}

/** Every selector of a metric that is declared in this process. */
function declaredSelectors(): { readonly where: string; readonly selector: Selector }[] {
  return queries
    .flatMap(({ where, expression }) =>
      readSelectors(expression).map((selector) => ({ where, selector })),
    )
    .filter(({ selector: { metric } }) => !metric.startsWith('temporal_'));
}

describe('every query of the dashboard and of the alerts', () => {
  it('reads metrics that exist', () => {
    const unknown = declaredSelectors()
      .filter(({ selector }) => !metrics.has(selector.metric))
      .map(({ where, selector }) => `${where}: ${selector.metric}`);

    expect(unknown).toEqual([]);
  });

  it('picks and groups by labels that those metrics have', () => {
    const unknown = declaredSelectors().flatMap(({ where, selector }) => {
      const known = [...(metrics.get(selector.metric)?.labels ?? []), ...targetLabels];
      const used = [...selector.groupedBy, ...selector.matchers.map(({ label }) => label)];
      return used
        .filter((label) => !known.includes(label))
        .map((label) => `${where}: ${label} of ${selector.metric}`);
    });

    expect(unknown).toEqual([]);
  });

  it('takes rates of counters, and of nothing else', () => {
    const rates = ['rate', 'irate', 'increase'];
    const wrong = declaredSelectors()
      .filter(({ selector: { metric, takenBy = '' } }) => {
        return (metrics.get(metric)?.kind === 'counter') !== rates.includes(takenBy);
      })
      .map(({ where, selector: { metric, takenBy } }) => `${where}: ${takenBy} of ${metric}`);

    expect(wrong).toEqual([]);
  });

  it('is called by labels that its result has', () => {
    const wrong = queries.flatMap(({ where, expression, caption }) => {
      const kept = resultLabels(expression);
      return labelsIn(caption)
        .filter((label) => !kept.includes(label))
        .map((label) => `${where}: ${label}`);
    });

    expect(wrong).toEqual([]);
  });

  it('names only jobs that Prometheus scrapes, or may be configured to', () => {
    const named = queries.flatMap(({ expression }) =>
      readSelectors(expression)
        .flatMap(({ matchers }) => matchers)
        .filter(({ label, operator }) => label === 'job' && operator === '=')
        .map(({ value }) => value),
    );

    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((job) => !everyJob.includes(job))).toEqual([]);
  });
});

/** `{{label}}` as in Grafana, `{{ $labels.label }}` as in Prometheus. */
function labelsIn(caption: string): string[] {
  return [...caption.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)].map(([, label]) => label!);
}

/** The labels that are left of what an expression reads: those it groups by, or else all. */
function resultLabels(expression: string): readonly string[] {
  return readSelectors(expression).flatMap(({ metric, aggregated, groupedBy }) =>
    aggregated
      ? groupedBy.filter((label) => label !== 'le')
      : [...(metrics.get(metric)?.labels ?? []), ...targetLabels],
  );
}

describe('the alert of an audit that does not run', () => {
  const [selector] = readSelectors(
    readAlerts().find(({ alert }) => alert === 'DeliveryAuditSilent')!.expr,
  );
  const pattern = new RegExp(`^(?:${selector!.matchers[0]!.value})$`);

  it('looks at activities that each run calls', () => {
    const shop = createShopAuditActivities({} as ShopAuditDependencies);
    const collector = createCollectorAuditActivities({} as CollectorAuditDependencies);
    const seen = Object.keys({ ...shop, ...collector }).filter((name) => pattern.test(name));

    expect(seen.toSorted()).toEqual(
      ['Confirmed', 'Decided', 'Delivered', 'Handled', 'Published'].map(
        (what) => `findUn${what.toLowerCase()}`,
      ),
    );
  });

  it('has a series before the first run', async () => {
    const { values } = await activityDuration.get();

    expect(
      values.filter(
        ({ metricName, labels }) =>
          metricName === selector!.metric && pattern.test(String(labels.activity)),
      ),
    ).toEqual([expect.objectContaining({ value: 0 })]);
  });
});

describe('the alert rules', () => {
  it('have names of their own', () => {
    const names = readAlerts().map(({ alert }) => alert);

    expect(new Set(names).size).toBe(names.length);
  });

  it('are those that Prometheus loads', () => {
    expect(readScrapeConfiguration().rule_files).toEqual(['alerts.yml']);
  });

  it('miss no kind of process that is down', () => {
    const { expr } = readAlerts().find(({ alert }) => alert === 'ProcessDown')!;
    const absent = readSelectors(expr).flatMap(({ takenBy, matchers }) =>
      takenBy === 'absent' ? matchers.map(({ value }) => value) : [],
    );

    expect(absent.sort()).toEqual([...jobs].sort());
  });
});

describe('the dashboard', () => {
  const { panels, templating } = readDashboard();

  it('has panels with a number and a title of their own', () => {
    const drawn = panels.filter(({ type }) => type !== 'row');
    const duplicates = (of: readonly (string | number)[]) =>
      of.filter((each, index) => of.indexOf(each) !== index);

    expect(duplicates(panels.map(({ id }) => id))).toEqual([]);
    expect(duplicates(drawn.map(({ title }) => title)).sort()).toEqual(['Dead letters waiting']);
    expect(drawn.filter(({ description }) => description === undefined)).toEqual([]);
  });

  it('has panels that stand beside each other within its width', () => {
    const overlapping = panels.flatMap((one, index) =>
      panels
        .slice(index + 1)
        .filter((other) => overlap(one, other))
        .map((other) => `${one.title} and ${other.title}`),
    );

    expect(overlapping).toEqual([]);
    expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
  });

  it('offers the jobs that Prometheus collects', () => {
    const offered = templating.list.find(({ name }) => name === 'job')?.query.split(',');

    expect(offered).toEqual(everyJob);
  });

  it('shows every metric of the project', () => {
    const shown = new Set(
      dashboardQueries().flatMap(({ expression }) =>
        readSelectors(expression).map(({ metric }) => metric.replace(/_(bucket|sum|count)$/, '')),
      ),
    );
    const declared = metricsRegistry.getMetricsAsArray().map(({ name }) => name);

    expect(declared.filter((name) => !shown.has(name))).toEqual([]);
  });
});

function overlap({ gridPos: one }: Panel, { gridPos: other }: Panel): boolean {
  return (
    one.x < other.x + other.w &&
    other.x < one.x + one.w &&
    one.y < other.y + other.h &&
    other.y < one.y + one.h
  );
}

test.each<[what: string, expression: string]>([
  ['an open bracket', 'rate(up[5m]'],
  ['a range without an end', 'rate(up[5m)'],
  ['no operand', 'up > '],
])('%s is no PromQL', (_what, expression) => {
  expect(() => readSelectors(expression)).toThrow(PromQLSyntaxError);
});

test('what an expression reads is found with its labels and its functions', () => {
  const query: Query['expression'] =
    'topk(3, sum by (le, a) (rate(m_bucket{b="x", c=~"y.+"}[5m]))) or absent(up)';

  expect(readSelectors(query)).toEqual([
    {
      metric: 'm_bucket',
      matchers: [
        { label: 'b', operator: '=', value: 'x' },
        { label: 'c', operator: '=~', value: 'y.+' },
      ],
      aggregated: true,
      groupedBy: ['le', 'a'],
      takenBy: 'rate',
    },
    { metric: 'up', matchers: [], aggregated: false, groupedBy: [], takenBy: 'absent' },
  ]);
});
