/** The documented metrics are those that exist, on the processes that count them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { countedBy, metricsRegistry } from '../../platform/observability/telemetry';

const text = readFileSync(path.join(__dirname, '..', '..', 'docs', 'telemetry.md'), 'utf8');
const documented = text
  .split('\n')
  .filter((line) => line.startsWith('| `commerce_'))
  .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')))
  .map(([, name = '', type = '', labels = '', processes = '']) => ({
    name,
    type,
    labels: list(labels),
    processes: list(processes),
  }));

function list(cell: string): string[] {
  return cell
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .sort();
}

test('docs/telemetry.md names every metric, with its type, its labels and its processes', async () => {
  const declared = (await metricsRegistry.getMetricsAsJSON()).map(({ name, type }) => {
    const { labelNames = [] } = metricsRegistry.getSingleMetric(name) as { labelNames?: string[] };
    const processes = [...(countedBy[name] ?? ['all'])].sort();
    return { name, type: String(type), labels: [...labelNames].sort(), processes };
  });
  const byName = (one: { name: string }, other: { name: string }) =>
    one.name.localeCompare(other.name);
  expect(documented.toSorted(byName)).toEqual(declared.toSorted(byName));
});

test('only metrics that exist are said to be counted by some processes', () => {
  const names = Object.keys(countedBy).filter((name) => !metricsRegistry.getSingleMetric(name));
  expect(names).toEqual([]);
});

test('names follow the conventions: one prefix, base units, counters end in _total', async () => {
  for (const { name, type } of await metricsRegistry.getMetricsAsJSON()) {
    expect(name).toMatch(/^commerce_[a-z_]+$/);
    expect(name).not.toMatch(/_(ms|milliseconds|minutes|kilobytes)\b/);
    expect(name.endsWith('_total')).toBe(String(type) === 'counter');
  }
});
