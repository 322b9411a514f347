/** The report of a run: a table for people, or one JSON object for programs. */
import { cpus, totalmem } from 'node:os';
import { createRequire } from 'node:module';
import Table from 'cli-table3';
import { curveTable, figuresBeside } from './curve';
import { median, type Goal, type Suite, type SuiteResult } from './suite';
import { serverVersions } from './versions';

/** What was run, where and when. */
export interface Run {
  readonly suite: string;
  readonly about: string;
  readonly rounds: number;
  readonly scale: number;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly date: string;
}

const packages = ['@temporalio/worker', 'kafkajs', 'pg', 'ioredis', 'fastify'];

/** Describes the finished run. `moreVersions` are those of packages that only its suite uses. */
export async function describeRun(
  { name, about }: Suite,
  options: Pick<Run, 'rounds' | 'scale'>,
  moreVersions: Readonly<Record<string, string>> = {},
): Promise<Run> {
  const ownRequire = createRequire(__filename);
  const versionOf = (name: string): string =>
    (ownRequire(`${name}/package.json`) as { version: string }).version;
  return {
    suite: name,
    about,
    ...options,
    machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    versions: {
      node: process.version,
      ...Object.fromEntries(packages.map((name) => [name, versionOf(name)])),
      ...moreVersions,
      ...(await serverVersions()),
    },
    date: new Date().toISOString(),
  };
}

/** One object: see the contract of `npm run bench`. */
export function toJson(run: Run, { sides, ratios, targets, remarks }: SuiteResult): string {
  const limit = ratios.find(({ kind }) => kind === 'limit');
  const peers = ratios.filter(({ kind }) => kind === 'peer');
  const object = {
    ...run,
    sides: sides.map(({ name, what, figures, points }) => ({
      name,
      what,
      ...(points === undefined ? {} : { side: name, points }),
      figures: Object.fromEntries(
        Object.entries(figures).map(([figure, values]) => [figure, summarize(values)]),
      ),
    })),
    ...(limit === undefined ? {} : { ratioToLimit: limit.ratio }),
    ...(peers.length === 0
      ? {}
      : { ratioTo: Object.fromEntries(peers.map(({ peer, to, ratio }) => [peer ?? to, ratio])) }),
    ratios,
    targets,
    remarks,
  };
  return `${JSON.stringify(object, undefined, 2)}\n`;
}

/** A table of the sides, the ratios with their goals, and the remarks. */
export function toText(run: Run, { sides, ratios, targets, remarks }: SuiteResult): string {
  const figures = new Table({ head: ['side', 'figure', 'median', 'rounds'], style: plain });
  for (const { name, figures: own } of sides) {
    for (const [figure, values] of figuresBeside(own)) {
      figures.push([name, figure, short(median(values)), values.map(short).join('  ')]);
    }
  }
  const curves = sides.flatMap(({ name, points }) =>
    points === undefined ? [] : { name, points },
  );
  const { head, rows } = curveTable(curves);
  const curve = new Table({ head, style: plain });
  curve.push(...rows);
  const goals = new Table({ head: ['what', 'measured', 'goal', ''], style: plain });
  for (const { side, to, figure, ratio, goal } of ratios) {
    goals.push([`${figure}: ${side} / ${to}`, ratio.toFixed(2), ...verdict(ratio, goal)]);
  }
  for (const { side, figure, goal } of targets) {
    const value = median(sides.find(({ name }) => name === side)!.figures[figure]!);
    goals.push([`${figure}: ${side}`, short(value), ...verdict(value, goal)]);
  }
  const what = sides.map(({ name, what }) => `${name}: ${what}`);
  return [
    `${run.suite}: ${run.about}`,
    `${run.date}, ${run.machine}, ${run.rounds} rounds${run.scale === 1 ? '' : `, scale ${run.scale}`}`,
    Object.entries(run.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    ...(curves.length === 0 ? [] : [curve.toString()]),
    figures.toString(),
    ...what,
    ...(goals.length === 0 ? [] : [goals.toString()]),
    ...remarks,
    '',
  ].join('\n');
}

const plain = { head: [], border: [] };

function summarize(rounds: readonly number[]) {
  return { median: median(rounds), min: Math.min(...rounds), max: Math.max(...rounds), rounds };
}

/** A goal in words, and whether the value meets it; both empty where there is none. */
export function verdict(value: number, goal: Goal | undefined): [string, string] {
  if (goal === undefined) return ['', ''];
  const { atLeast, below } = goal;
  const met = (atLeast === undefined || value >= atLeast) && (below === undefined || value < below);
  const text = [
    ...(atLeast === undefined ? [] : [`≥ ${atLeast}`]),
    ...(below === undefined ? [] : [`< ${below}`]),
  ].join(', ');
  return [text, met ? 'met' : 'not met'];
}

function short(value: number): string {
  return value < 100 ? value.toFixed(2) : String(Math.round(value));
}
