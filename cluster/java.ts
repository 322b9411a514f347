/** Finds a Java that can run Kafka and Temporal's test server. */
import { join } from 'node:path';
import { findOnPath, runCommand } from './command';
import { ProgramNotFoundError } from './errors';

/**
 * The path of `java`: in `JAVA_HOME`, else on `PATH`.
 *
 * @throws ProgramNotFoundError when there is none, or it is older than 17.
 */
export async function findJava(): Promise<string> {
  const home = process.env['JAVA_HOME'];
  const java = home ? join(home, 'bin', 'java') : await findOnPath('java');
  if (java === undefined) throw missing('is not installed');
  const version = await runCommand(java, ['-version']);
  const major = Number(/version "(\d+)/.exec(version)?.[1] ?? 0);
  if (major < oldestJava) throw missing(`at ${java} is older than ${oldestJava}`);
  return java;
}

const oldestJava = 17;

function missing(problem: string): ProgramNotFoundError {
  return new ProgramNotFoundError(
    `Java ${problem}: install Java ${oldestJava} or later (Debian: openjdk-17-jre-headless), ` +
      'or use `docker compose up`.',
  );
}
