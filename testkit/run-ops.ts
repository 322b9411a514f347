/** Runs the operator's command line against a stack. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { runCommandLine } from '../operations/cli/command-line';
import { createMemoryStreams, type MemoryStreams } from './memory-streams';
import type { Stack } from './stack';

/** The result of a command. */
export interface OpsResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `npm run ops -- …` as a process of its own, without a terminal. */
export async function runOps(
  { environment }: Pick<Stack, 'environment'>,
  ...commandArguments: readonly string[]
): Promise<OpsResult> {
  const child = spawn(
    process.execPath,
    ['--require', './typescript.cjs', 'operations/cli/main.ts', ...commandArguments],
    {
      cwd: path.join(__dirname, '..'),
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [exitCode] = (await once(child, 'close')) as [number];
  return { exitCode, stdout, stderr };
}

/**
 * The same within this process, in a fraction of the time. One at a time: it changes the
 * environment.
 */
export function runOpsHere(
  stack: Pick<Stack, 'environment'>,
  ...commandArguments: readonly string[]
): Promise<OpsResult> {
  return runWith(stack, createMemoryStreams(), commandArguments);
}

/** The same at a terminal, with one answer to every question. */
export function runOpsAtTerminal(
  stack: Pick<Stack, 'environment'>,
  answer: string,
  ...commandArguments: readonly string[]
): Promise<OpsResult> {
  const streams = createMemoryStreams({ stdin: true, stdout: true, stderr: true });
  streams.type(`${answer}\n`);
  return runWith(stack, streams, commandArguments);
}

async function runWith(
  { environment }: Pick<Stack, 'environment'>,
  streams: MemoryStreams,
  commandArguments: readonly string[],
): Promise<OpsResult> {
  const before = process.env;
  process.env = { ...before, ...environment };
  try {
    const exitCode = await runCommandLine(commandArguments, streams);
    return { exitCode, ...streams.written };
  } finally {
    process.env = before;
  }
}
