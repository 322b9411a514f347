/**
 * `npm start`: brings the local cluster up, migrates, starts and supervises the processes, runs a
 * short shopping story through the HTTP API, and stays until Ctrl-C, which stops everything. With
 * `--exit` it ends after the story.
 */
import { join } from 'node:path';
import { Command } from 'commander';
import { withLinkedSignal } from '../platform/process/abort';
import { ConfigurationError, readConfig, type Config } from '../platform/process/config';
import { warnOfMisspeltVariables } from '../platform/process/misspelt-variables';
import { runProgram } from '../platform/process/program';
import { runCommand } from './command';
import { ClusterError, messageOf } from './errors';
import { listenForInterruption } from './interruption';
import {
  clusterVariables,
  createCluster,
  printProgress,
  viewSpoolFolder,
  type Cluster,
} from './local-cluster';
import { chooseAddresses, urlOf, type Addresses } from './process-addresses';
import { becomeOnlyStart } from './only-start';
import { paintFor } from './paint';
import type { Report } from './progress';
import { createPage } from './story/page';
import { StoryError } from './story/story-error';
import { tellStory } from './story/tell-story';
import {
  logFolder,
  stopAbandonedProcesses,
  superviseProcesses,
  superviseServers,
  type SupervisedProcesses,
} from './supervision';

interface StartOptions {
  /** End after the story. */
  readonly exit: boolean;
}

/** The configuration of a start. */
interface Plan {
  readonly cluster: Cluster;
  readonly report: Report;
  readonly environment: NodeJS.ProcessEnv;
  readonly config: Config;
}

/** A plan for processes whose ports are free. */
interface RunnablePlan extends Plan {
  readonly addresses: Addresses;
}

const root = join(__dirname, '..');
const paint = paintFor(process.stdout);
const killedBySecondCtrlC = 130;

/** For the second Ctrl-C; set once they run. */
let processes: SupervisedProcesses | undefined;

async function main(): Promise<void> {
  const options = readOptions();
  // Writes to a closed terminal fail; everything must still be stopped.
  process.stdout.on('error', () => undefined);
  const interrupted = listenForInterruption({
    onFirst: () => say('\nStopping everything (Ctrl-C again stops at once)'),
    onSecond: endAtOnce,
  });
  for (const warning of warnOfMisspeltVariables(process.env, clusterVariables))
    say(paint('yellow', warning));
  const plan = makePlan();
  const giveUpNote = await becomeOnlyStart(plan.cluster.directory, interrupted);
  try {
    await stopAbandonedProcesses(plan.cluster.directory, plan.report);
    const addresses = await chooseAddresses(plan.config);
    await runAll({ ...plan, addresses }, options, interrupted);
  } catch (error) {
    if (!interrupted.aborted) throw error;
  } finally {
    giveUpNote();
  }
}

function readOptions(): StartOptions {
  return new Command('npm start --')
    .description('The whole pipeline on this machine, with a short story that shows what it does.')
    .option('--exit', 'end after the story instead of staying up', false)
    .parse()
    .opts<StartOptions>();
}

function makePlan(): Plan {
  const report = printProgress(process.stdout);
  const cluster = createCluster({ report });
  const environment = {
    ...process.env,
    ...cluster.environment,
    TEMPORAL_UI_URL: cluster.temporalUiUrl,
    VIEW_SPOOL_DIR: process.env['VIEW_SPOOL_DIR'] || viewSpoolFolder(cluster.directory),
    DATABASE_DEVELOPMENT_USERS: 'true',
  };
  const config = readConfig(environment);
  return { cluster, report, config, environment };
}

/** Runs everything until the story ends or a signal arrives, and always stops it. */
async function runAll(
  plan: RunnablePlan,
  options: StartOptions,
  interrupted: AbortSignal,
): Promise<void> {
  const { cluster, report } = plan;
  const stopWatching = new AbortController();
  let watching: Promise<void> = Promise.resolve();
  try {
    say(paint('bold', `Starting the local cluster in ${cluster.directory}`));
    await bringUp(plan, interrupted);
    watching = superviseServers(cluster, report, stopWatching.signal);
    processes = superviseProcesses({ ...plan, directory: cluster.directory });
    await processes.whenReady(interrupted);
    say(paint('dim', `Their logs are in ${logFolder(cluster.directory)}`));
    const apiUrl = urlOf(plan.addresses.api);
    const page = createPage(process.stdout, paint);
    const productId = await tellStory({
      apiUrl,
      config: plan.config,
      environment: plan.environment as Record<string, string>,
      cluster,
      page,
      signal: interrupted,
    });
    say(whereToGo(plan, apiUrl, productId));
    if (!options.exit) await untilAborted(interrupted, 'Ctrl-C stops everything.');
  } finally {
    if (!interrupted.aborted) say('Stopping everything');
    stopWatching.abort();
    await Promise.all([watching, processes?.stop()]);
    await cluster.down();
  }
}

/**
 * Resolves when every server answers, the workflows are bundled, and the schemas, topics and search
 * attributes are up to date.
 */
function bringUp(plan: Plan, given: AbortSignal): Promise<void> {
  return withLinkedSignal(given, (linked) => bringUpOrGiveUp(plan, linked));
}

async function bringUpOrGiveUp(
  { cluster, report, environment }: Plan,
  linked: AbortController,
): Promise<void> {
  const { signal } = linked;
  const orGiveUp = async (work: Promise<unknown>): Promise<void> => {
    await work.catch((error: unknown) => linked.abort(error));
  };
  const run = (entry: string): Promise<string> =>
    runCommand(process.execPath, ['--require', './typescript.cjs', entry], {
      cwd: root,
      environment: environment as Record<string, string>,
      signal,
    });
  // Both workers need the bundle: built once before they start, instead of by each.
  await Promise.all([
    orGiveUp(cluster.up({ signal })),
    orGiveUp(run('workers/build-workflow-bundle.ts')),
  ]);
  signal.throwIfAborted();
  report('workflows', 'are bundled');
  await run('migrations/main.ts');
  report('migrations', 'schemas, topics and search attributes are up to date');
}

function whereToGo(plan: RunnablePlan, apiUrl: string, productId: string): string {
  const { cluster, config } = plan;
  const ownKeys = Boolean(process.env['API_KEYS']);
  const operator = config.API_KEYS.find(({ role }) => role === 'operator');
  const secret = ownKeys ? '<a secret of your API_KEYS>' : operator?.secret;
  const keys = config.API_KEYS.map(({ role, secret }) => `${secret} (${role})`).join(', ');
  return [
    '',
    paint('bold', 'Ready to use'),
    `  Dashboard, API   ${paint('cyan', apiUrl)}`,
    `  Temporal Web UI  ${paint('cyan', cluster.temporalUiUrl)}`,
    ...Object.entries(plan.addresses).map(
      ([name, address], index) =>
        `  ${(index === 0 ? 'Metrics' : '').padEnd(15)}  ${paint('cyan', `${urlOf(address)}/metrics`)}  ${name}`,
    ),
    ...(ownKeys ? [] : [`  Development keys ${keys}`]),
    `  Try              curl -i -H 'Authorization: Bearer ${secret}' ${apiUrl}/v1/products/${productId}`,
    '',
  ].join('\n');
}

async function untilAborted(signal: AbortSignal, message: string): Promise<void> {
  say(message);
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

function endAtOnce(): void {
  processes?.kill();
  say('Stopped at once. Servers of the cluster may still run: npm run cluster -- down stops them.');
  process.exit(killedBySecondCtrlC);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Errors that say what to do need no stack. */
function explain(error: unknown): string {
  const isForPeople =
    error instanceof ClusterError ||
    error instanceof ConfigurationError ||
    error instanceof StoryError;
  return isForPeople || !(error instanceof Error)
    ? messageOf(error)
    : (error.stack ?? error.message);
}

runProgram(main, {
  explain: (error) => paint('red', explain(error)),
  exitAtOnce: true,
});
