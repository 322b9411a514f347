/** Parsed alert rules, dashboard and scrape configuration. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

const folder = path.join(__dirname, '..', 'observability');

/** The text of a file in `observability/`. */
function readText(file: string): string {
  return readFileSync(path.join(folder, file), 'utf8');
}

const duration = z.string().regex(/^\d+[smh]$/);

const alert = z.strictObject({
  alert: z.string().regex(/^([A-Z][a-z]+)+$/),
  expr: z.string().min(1),
  for: duration.optional(),
  labels: z.strictObject({ severity: z.enum(['critical', 'warning']) }),
  annotations: z.strictObject({ summary: z.string().min(1), runbook_url: z.string() }),
});

const rules = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(alert).min(1) })).min(1),
});

/** An alert rule. */
export type Alert = z.output<typeof alert>;

/** Every alert. @throws ZodError for a rule without what every rule has */
export function readAlerts(): Alert[] {
  return rules
    .parse(parse(readText('prometheus/alerts.yml')))
    .groups.flatMap((group) => group.rules);
}

const target = z.object({ expr: z.string(), legendFormat: z.string() });
const place = z.object({
  x: z.number(),
  y: z.number(),
  w: z.number().positive(),
  h: z.number().positive(),
});

const panel = z.object({
  id: z.number().int().positive(),
  type: z.enum(['row', 'stat', 'timeseries']),
  title: z.string().min(1),
  description: z.string().min(1).optional(),
  gridPos: place,
  targets: z.array(target).min(1).optional(),
});

const variable = z.object({ name: z.string(), type: z.string(), query: z.string() });

const dashboard = z.object({
  uid: z.string(),
  title: z.string(),
  panels: z.array(panel),
  annotations: z.object({ list: z.array(z.object({ expr: z.string().optional() })) }),
  templating: z.object({ list: z.array(variable) }),
});

/** A panel of the dashboard, or the title of a row. */
export type Panel = z.output<typeof panel>;

/** The dashboard. @throws ZodError */
export function readDashboard(): z.output<typeof dashboard> {
  return dashboard.parse(JSON.parse(readText('grafana/dashboards/commerce.json')));
}

/** A query, and its location. */
export interface Query {
  readonly where: string;
  readonly expression: string;
  /** The legend or summary, with its labels. */
  readonly caption: string;
}

/** Every query of the dashboard, with variables substituted. */
export function dashboardQueries(): Query[] {
  const { panels, annotations } = readDashboard();
  const ofPanels = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({ where: title, expr, caption: legendFormat })),
  );
  const ofAnnotations = annotations.list.flatMap(({ expr }) =>
    expr === undefined ? [] : [{ where: 'annotations', expr, caption: '' }],
  );
  return [...ofPanels, ...ofAnnotations].map(({ expr, ...rest }) => ({
    ...rest,
    expression: expr.replaceAll('$__rate_interval', '5m'),
  }));
}

export function alertQueries(): Query[] {
  return readAlerts().map(({ alert: where, expr, annotations }) => ({
    where,
    expression: expr,
    caption: annotations.summary,
  }));
}

const scrapeConfiguration = z.object({
  rule_files: z.array(z.string()),
  scrape_configs: z.array(
    z.strictObject({
      job_name: z.string(),
      dns_sd_configs: z.tuple([
        z.strictObject({
          names: z.tuple([z.string()]),
          type: z.literal('A'),
          port: z.number(),
          refresh_interval: duration,
        }),
      ]),
    }),
  ),
});

/** The scrape configuration. @throws ZodError */
export function readScrapeConfiguration(): z.output<typeof scrapeConfiguration> {
  return scrapeConfiguration.parse(parse(readText('prometheus/prometheus.yml')));
}
