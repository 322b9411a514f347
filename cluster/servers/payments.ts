/** The payment gateway simulator: a program of this project, so there is nothing to install. */
import { join } from 'node:path';
import type { Launch } from '../daemon';
import { loopback, type ClusterPorts } from '../ports';
import type { Server, ServerContext } from '../server';

/** The payment gateway's simulator. */
export const payments: Server = {
  name: 'payments',
  ports: ['payments'],
  find: () => Promise.resolve(join(__dirname, '..', '..', 'payments-simulator', 'main.ts')),
  prepare,
  healthy,
  stopSignal: 'SIGTERM',
};

function prepare(program: string, { ports, directory }: ServerContext): Promise<Launch> {
  return Promise.resolve({
    program: process.execPath,
    parameters: ['--require', join(__dirname, '..', '..', 'typescript.cjs'), program],
    environment: {
      PAYMENTS_HOST: loopback,
      PAYMENTS_PORT: String(ports.payments),
      // Charges must survive a kill of the simulator.
      PAYMENTS_DATA_FILE: join(directory, 'charges.jsonl'),
    },
  });
}

async function healthy(ports: ClusterPorts): Promise<void> {
  const answer = await fetch(`http://${loopback}:${ports.payments}/healthz`, {
    signal: AbortSignal.timeout(2_000),
  });
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(`/healthz returned ${answer.status}`);
}
