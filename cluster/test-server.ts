/** Temporal's time-skipping test server, which workflow tests run against; installed on demand. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findOrInstall, mavenWay, type InstallWay, type Recipe } from './install';
import { findJava } from './java';
import type { Report } from './progress';

/**
 * The path of the test server's executable, for `TestWorkflowEnvironment.createTimeSkipping` with
 * `executable: { type: 'existing-path', path }`.
 *
 * @throws ProgramNotFoundError that says what to install.
 */
export async function findTestServer(
  report: Report,
  signal: AbortSignal = new AbortController().signal,
): Promise<string> {
  await findJava();
  return findOrInstall(recipe, report, signal);
}

const jars = mavenWay('temporal-test-server.xml', 'copy-dependencies', 'libs');

const startScript = `#!/bin/sh
java="\${JAVA_HOME:+$JAVA_HOME/bin/}java"
exec "$java" -cp "$(dirname "$0")/libs/*" io.temporal.testserver.TestServer "$@"
`;

const withStartScript: InstallWay = {
  step: jars.step,
  fill: async (directory, signal) => {
    await jars.fill(directory, signal);
    await writeFile(join(directory, 'temporal-test-server'), startScript, { mode: 0o755 });
  },
};

const recipe: Recipe = {
  name: 'test server',
  variable: 'CLUSTER_TEMPORAL_TEST_SERVER_PROGRAM',
  variableHolds: "the executable of Temporal's time-skipping test server",
  onPath: () => Promise.resolve(undefined),
  cacheEntry: 'temporal-test-server-1.32.0',
  program: 'temporal-test-server',
  ways: [withStartScript],
  advice: 'install Maven (Debian: maven)',
};
