/**
 * `npm run experiment -- NAME`: runs an experiment of the writing on real servers of its own, and
 * prints the figures. Without a name it lists the experiments.
 */
import { runProgram } from '../platform/process/program';
import { killRememberedProcesses } from '../testkit/child-processes';
import { orAborted } from '../platform/process/waiting';
import { withTestCluster } from '../testkit/test-cluster';
import type { Experiment, Findings } from './experiment';
import { experiments } from './experiments';

async function main(name: string | undefined): Promise<number> {
  const experiment = experiments.find((each) => each.name === name);
  if (experiment === undefined) {
    if (name !== undefined) console.error(`Unknown experiment '${name}'.`);
    console.log('npm run experiment -- NAME\n');
    for (const each of experiments) console.log(`  ${each.name.padEnd(20)} ${each.question}`);
    return name === undefined ? 0 : 2;
  }
  return withTestCluster(async ({ environment, signal }) => {
    Object.assign(process.env, environment);
    try {
      const findings = await orAborted(experiment.run(), signal);
      console.log(toMarkdown(experiment, findings));
      return 0;
    } finally {
      await killRememberedProcesses();
    }
  });
}

/** In the format of the writing. */
function toMarkdown({ question, columns }: Experiment, { rows, remarks }: Findings): string {
  const toRow = (cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => cell.toLocaleString('en-US')).join(' | ')} |`;
  return [
    `\n${question}\n`,
    toRow(columns),
    toRow(columns.map(() => '---')),
    ...rows.map(toRow),
    '',
    ...remarks.map((remark) => `- ${remark}`),
  ].join('\n');
}

runProgram(() => main(process.argv[2]), { exitAtOnce: true });
