/**
 * `npm run bench -- SUITE [--json]`: measures one suite on a cluster of its own.
 *
 *   --json        prints one object on standard output, and nothing else there
 *   --rounds N    rounds of each side, 3 by default
 *   --scale X     multiplies the work of a round, to try a suite out: 0.1 is a tenth
 *
 * Benchmarks are not tests: they fail on wrong results, never on a slow time. The exit code of a mistake
 * in the command line is 2.
 */
import { runProgram, UsageError } from '../platform/process/program';
import { readCommandLine, tellsUsage } from '../testkit/command-line';
import { withTestCluster, type TestCluster } from '../testkit/test-cluster';
import { describeRun, toJson, toText } from './report';
import { suites } from './suites';

interface Options {
  readonly suiteName: string;
  readonly json: boolean;
  readonly rounds: number;
  readonly scale: number;
}

function readOptions(): Options {
  const { values, positionals } = readCommandLine({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      scale: { type: 'string', default: '1' },
    },
  });
  const names = suites.map(({ name }) => name);
  const [suiteName, ...more] = positionals;
  if (suiteName === undefined || more.length > 0 || !names.includes(suiteName)) {
    throw new UsageError(`Name one suite: ${names.join(', ')}.`);
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new UsageError(`--rounds ${values.rounds} is not a whole number of at least 1.`);
  }
  const scale = Number(values.scale);
  if (!(scale > 0)) throw new UsageError(`--scale ${values.scale} is not a number above 0.`);
  return { suiteName, json: values.json, rounds, scale };
}

async function runSuite(
  { suiteName, json, rounds, scale }: Options,
  { signal, environment }: TestCluster,
): Promise<number> {
  Object.assign(process.env, environment);
  const suite = suites.find(({ name }) => name === suiteName)!;
  const note = (text: string): void => void process.stderr.write(`${text}\n`);
  const result = await suite.run({ rounds, scale, note, signal });
  const run = await describeRun(suite, { rounds, scale }, result.versions);
  process.stdout.write(json ? toJson(run, result) : toText(run, result));
  return 0;
}

async function main(): Promise<number> {
  const options = readOptions();
  return withTestCluster((cluster) => runSuite(options, cluster));
}

// Explicit exit: a suite may leave an open connection that would keep the process alive.
runProgram(main, { ...tellsUsage, exitAtOnce: true });
