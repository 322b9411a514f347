/** Servers of the cluster, as faults deal with them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerName } from '../../cluster/local-cluster';
import type { Stack } from '../../testkit/stack';

type Servers = Pick<Stack, 'cluster'>;

/** Freezes a server for so long, and resumes it. */
export async function freezeFor(
  { stack }: { readonly stack: Servers },
  name: ServerName,
  durationMs: number,
): Promise<void> {
  const resume = await freezeServer(stack, name);
  try {
    await sleep(durationMs);
  } finally {
    resume();
  }
}

/** Freezes a server. @returns what resumes it */
export async function freezeServer(stack: Servers, name: ServerName): Promise<() => void> {
  const pids = await signalServer(stack, name, 'SIGSTOP');
  return () => pids.forEach((pid) => process.kill(pid, 'SIGCONT'));
}

/** `kill -9` of a server. */
export async function killServer(stack: Servers, name: ServerName): Promise<void> {
  await signalServer(stack, name, 'SIGKILL');
}

/** @returns the process IDs that have got the signal: by the name `kafka` those of every broker */
async function signalServer(
  { cluster }: Servers,
  name: ServerName,
  signal: NodeJS.Signals,
): Promise<number[]> {
  const names = name === 'kafka' ? cluster.brokers : [name];
  const servers = (await cluster.status()).filter((server) => names.includes(server.name));
  const pids = servers.map((server) => {
    if (server.pid === undefined) throw new Error(`${server.name} is not running.`);
    return server.pid;
  });
  for (const pid of pids) process.kill(pid, signal);
  return pids;
}
