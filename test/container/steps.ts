/** What is tried with the image and the stack, in this order, each with what is told of it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { until } from '../../testkit/until';
import type { Project } from './compose';
import { applicationImage, officialImages, services } from './images';

/** Something that must hold. */
export interface Step {
  readonly name: string;
  /** The steps after it make no sense where it fails. */
  readonly isGround?: boolean;
  /** Answers what is worth telling; throws where it does not hold. */
  readonly run: (project: Project) => Promise<string>;
}

/** The image, which is built while there is a network for it. */
export const build: Step = {
  name: 'the Dockerfile builds the image',
  isGround: true,
  async run({ compose, docker, image }) {
    await compose(['build', 'migrate']);
    const about = await docker('image', 'inspect', '--format', '{{.Size}} {{.Config.User}}', image);
    const [bytes, user] = about.trim().split(' ');
    expectEqual('the user', user, '1000:1000');
    const libraries = 'node_modules/@temporalio/core-bridge/releases';
    const native = await docker('run', '--rm', '--network=none', image, 'ls', libraries);
    expectEqual('the native libraries', native.trim().split('\n').length, 1);
    const [base = ''] = officialImages();
    const below = await docker('image', 'inspect', '--format', '{{.Size}}', base);
    return `image size: ${megabytes(bytes)} MB, ${megabytes(below)} of them are ${base}`;
  },
};

/** The stack, from `up` to its end. */
export const steps: readonly Step[] = [
  {
    name: 'docker compose up brings the whole stack up',
    isGround: true,
    async run({ compose }) {
      await compose(['up', '--detach', '--wait', '--wait-timeout', '300']);
      return 'every container healthy';
    },
  },
  {
    name: 'an order reaches event_log',
    async run(project) {
      const { orderId } = await placeOrder(project);
      await untilLogged(project, orderId);
      return 'placed, paid and confirmed';
    },
  },
  {
    name: 'a killed worker comes back, and an order meanwhile loses nothing',
    async run(project) {
      const { productId } = await placeOrder(project);
      for (const name of workers) await crash(project, name);
      const { orderId } = await placeOrder(project, productId);
      await untilLogged(project, orderId);
      for (const name of workers) {
        const restarts = await inspect(project, name, '{{.RestartCount}}');
        expectEqual(`the restarts of ${name}`, restarts, '1');
      }
      return `${workers.join(' and ')} restarted by the engine`;
    },
  },
  {
    name: 'verify, as docker compose run --rm ops verify, finds no difference',
    async run({ compose }) {
      await compose(['run', '--rm', 'ops', 'verify']);
      return 'exit code 0';
    },
  },
  {
    name: 'everything stops within its grace',
    async run(project) {
      const from = Date.now();
      await project.compose(['stop']);
      const tookMs = Date.now() - from;
      const codes = await exitCodes(project);
      const bad = codes.filter(([name, code]) => code === killed || (ours(name) && code !== '0'));
      expectEqual('what ended otherwise', bad, []);
      return `${seconds(tookMs)}; exit codes: ${codes.map((pair) => pair.join(' ')).join(', ')}`;
    },
  },
  {
    name: 'SIGTERM right after the start ends a process at once',
    async run(project) {
      const told: string[] = [];
      for (const name of processes) {
        const container = await containerOf(project, name);
        await project.docker('start', container);
        const from = Date.now();
        await project.docker('kill', '--signal', 'TERM', container);
        const code = (await project.docker('wait', container)).trim();
        const tookMs = Date.now() - from;
        if (tookMs > atOnceMs || !['0', terminated].includes(code)) {
          throw new Error(`${name} ended after ${seconds(tookMs)}, with ${code}`);
        }
        told.push(`${name} ${seconds(tookMs)} (${code})`);
      }
      return told.join(', ');
    },
  },
];

const megabytes = (bytes = ''): number => Math.round(Number(bytes) / 1e6);

const workers = ['worker-commerce', 'worker-collector'];
const processes = ['api', ...workers, 'bridge', 'payments'];

/** 128 and the number of the signal, as an init reports it. */
const killed = '137';
const terminated = '143';

/** Well below the grace, and enough for a machine that is busy. */
const atOnceMs = 10_000;

const ours = (name: string): boolean => services()[name]?.image === applicationImage;

async function placeOrder(
  { compose }: Project,
  ...product: string[]
): Promise<{ productId: string; orderId: string }> {
  const program = readFileSync(path.join(__dirname, 'place-order.mjs'), 'utf8');
  const node = ['exec', '-T', 'api', 'node', '--input-type=module', '-'];
  const answer = await compose([...node, ...product], program);
  const [productId = '', orderId = ''] = answer.trim().split('\n').slice(-2);
  return { productId, orderId };
}

/** An order that is paid has these, whichever way it went. */
const eventsOfOrder = ['OrderConfirmed', 'OrderPlaced', 'PaymentCompleted'];

async function untilLogged({ compose }: Project, orderId: string): Promise<void> {
  const database = 'postgres://commerce:commerce@127.0.0.1/commerce';
  const statement = `SELECT type FROM collector.event_log WHERE aggregate_id = '${orderId}'`;
  const ask = ['psql', database, '--no-align', '--tuples-only', `--command=${statement}`];
  await until(
    `the events of order ${orderId} are logged`,
    async () => {
      const types = (await compose(['exec', '-T', 'postgres', ...ask])).trim().split('\n');
      return JSON.stringify(types.sort()) === JSON.stringify(eventsOfOrder);
    },
    { timeoutMs: 120_000, pollMs: 500 },
  );
}

/** Kills the process under the init, as a crash does: `docker kill` would tell the engine to let it lie. */
async function crash({ compose }: Project, name: string): Promise<void> {
  const kill = `
    const [child] = require('node:fs').readFileSync('/proc/1/task/1/children', 'utf8').split(' ');
    process.kill(Number(child), 'SIGKILL');`;
  // The container may end before this has told how it went.
  await compose(['exec', '-T', name, 'node', '--eval', kill]).catch(() => undefined);
}

async function containerOf({ compose }: Project, name: string): Promise<string> {
  return (await compose(['ps', '--all', '--quiet', name])).trim();
}

async function inspect(project: Project, name: string, format: string): Promise<string> {
  const container = await containerOf(project, name);
  return (await project.docker('inspect', '--format', format, container)).trim();
}

async function exitCodes(project: Project): Promise<[name: string, code: string][]> {
  const codes: [string, string][] = [];
  for (const [name, { profiles }] of Object.entries(services())) {
    if (profiles !== undefined) continue;
    codes.push([name, await inspect(project, name, '{{.State.ExitCode}}')]);
  }
  return codes;
}

function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  throw new Error(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
}

/** For people: `3.2 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
