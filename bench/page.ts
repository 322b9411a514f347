/**
 * `npm run bench:page`: writes `docs/benchmarks.md` from the results in `bench/results`, one file
 * per suite, as printed by `npm run bench -- SUITE --json`, and the chart of a load curve into
 * `docs/images`. The text below the page's last heading is written by hand and kept.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runProgram } from '../platform/process/program';
import { curveTable, figuresBeside, type Point } from './curve';
import { drawCurves } from './curve-chart';
import { verdict } from './report';
import { median, type Ratio, type Target } from './suite';
import { suites } from './suites';

/** The parts of a result that are read; see `toJson` in report.ts. */
interface Result {
  readonly suite: string;
  readonly about: string;
  readonly rounds: number;
  readonly scale: number;
  readonly machine: string;
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly sides: readonly {
    readonly name: string;
    readonly what: string;
    readonly figures: Readonly<Record<string, { readonly rounds: readonly number[] }>>;
    readonly points?: readonly Point[];
  }[];
  readonly ratios: readonly Ratio[];
  readonly targets: readonly Target[];
  readonly remarks: readonly string[];
}

const root = path.join(__dirname, '..');
const resultsFolder = path.join(__dirname, 'results');
const pageFile = path.join(root, 'docs', 'benchmarks.md');
const byHand = '## What the figures say\n';

async function main(): Promise<void> {
  const results = await readResults();
  const written = await readFile(pageFile, 'utf8').catch(() => '');
  const kept = written.includes(byHand) ? written.slice(written.indexOf(byHand)) : byHand;
  await writeFile(pageFile, `${toMarkdown(results)}\n${kept}`);
  for (const result of results) {
    const curves = curvesOf(result);
    if (curves.length === 0) continue;
    await writeFile(path.join(root, 'docs', chartOf(result)), drawCurves(curves));
  }
}

async function readResults(): Promise<Result[]> {
  const files = await readdir(resultsFolder);
  const results = await Promise.all(
    files.map(
      async (file) => JSON.parse(await readFile(path.join(resultsFolder, file), 'utf8')) as Result,
    ),
  );
  const order = suites.map(({ name }) => name);
  return results.sort((one, other) => order.indexOf(one.suite) - order.indexOf(other.suite));
}

function toMarkdown(results: readonly Result[]): string {
  return `# Benchmarks

Each suite compares its sides in one run on the same servers, in turn, round by round; a ratio is the median of those of the rounds. The limit of a suite is the best way to do the same work, or the same steps, that we could write without this project's parts. The servers are the local cluster's: one Kafka broker, PostgreSQL that waits for the disk at each commit, and Temporal's development server with its state in one SQLite file. None of the three engines waits for the disk with its own state: Temporal's SQLite (\`synchronous=NORMAL\`), the system database of DBOS (\`synchronous_commit=off\`), Restate's log (\`rocksdb-disable-wal-fsync\`). \`npm run bench -- SUITE\` repeats one, \`npx -y -p node@24 npm run bench -- SUITE\` with the Node.js that the image runs, where yours is another (under 'Versions' stands which it was); the kept results are in [\`bench/results/\`](../bench/results). What a side does stands below its suite.

| suite | compared | ratio or figure | lowest to highest round | goal | |
|---|---|---|---|---|---|
${results.flatMap(toSummary).join('\n')}

${results.map(toSection).join('\n\n')}
`;
}

function toSummary({ suite, ratios, targets, sides }: Result): string[] {
  const roundsOf = (side: string, figure: string): readonly number[] =>
    sides.find(({ name }) => name === side)!.figures[figure]!.rounds;
  const ofRatios = ratios.map(({ side, to, figure, ratio, goal }) => {
    const others = roundsOf(to, figure);
    const each = roundsOf(side, figure).map((value, round) => value / others[round]!);
    const name = `${figure}: ${side} ÷ ${to}`;
    return row([suite, name, ratio.toFixed(2), range(each), ...verdict(ratio, goal)]);
  });
  const ofTargets = targets.map(({ side, figure, goal }) => {
    const values = roundsOf(side, figure);
    const value = median(values);
    return row([suite, `${figure}: ${side}`, short(value), range(values), ...verdict(value, goal)]);
  });
  return [...ofRatios, ...ofTargets];
}

function toSection(result: Result): string {
  const scale = result.scale === 1 ? '' : ` --scale ${result.scale}`;
  const rounds = result.rounds === 3 ? '' : ` --rounds ${result.rounds}`;
  return `## ${result.suite}

${result.about}. \`npm run bench -- ${result.suite}${scale}${rounds}\`, ${result.date.slice(0, 10)}, ${result.machine}.

${toCurve(result)}| side | figure | median | rounds |
|---|---|---|---|
${result.sides
  .flatMap(({ name, figures }) =>
    figuresBeside(figures).map(([figure, { rounds: values }]) =>
      row([name, figure, short(median(values)), values.map(short).join(', ')]),
    ),
  )
  .join('\n')}

${[...result.sides.map(({ name, what }) => `- \`${name}\`: ${what}`), ...result.remarks.map((remark) => `- ${remark}`)].join('\n')}

<details><summary>Versions</summary>

${Object.entries(result.versions)
  .map(([name, version]) => `${name} ${version}`)
  .join(', ')}

</details>`;
}

function curvesOf({ sides }: Result) {
  return sides.flatMap(({ name, points }) => (points === undefined ? [] : { name, points }));
}

/** Relative to the page. */
const chartOf = ({ suite }: Result): string => `images/${suite}.svg`;

/** The chart and the table of a load curve, where there is one. */
function toCurve(result: Result): string {
  const curves = curvesOf(result);
  if (curves.length === 0) return '';
  const { head, rows } = curveTable(curves);
  return `![Time from an event to its effects over the rate of events, a line for each side](${chartOf(result)})

${row(head)}
|${'---|'.repeat(head.length)}
${rows.map(row).join('\n')}

`;
}

function short(value: number): string {
  return value < 100 ? value.toFixed(2) : Math.round(value).toLocaleString('en');
}

function range(values: readonly number[]): string {
  if (values.length < 2) return '';
  return `${short(Math.min(...values))} to ${short(Math.max(...values))}`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

runProgram(main);
