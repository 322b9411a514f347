/** Programs are installed once, whole or not at all, however many ask for them. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findOrInstall, installOnce, type InstallWay, type Recipe } from '../../cluster/install';

const signal = new AbortController().signal;
const report = (): void => undefined;
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'install-test-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe('installing a program', () => {
  it('happens once when several ask for it at the same time', async () => {
    let fills = 0;
    const slow: InstallWay = {
      step: 'writing it',
      fill: async (place) => {
        fills += 1;
        await writeFile(join(place, 'program'), 'half');
        await delay(300);
        await writeFile(join(place, 'program'), 'whole');
      },
    };
    const ask = (): Promise<string> => installOnce(recipe([slow]), directory, report, signal);

    const paths = await Promise.all([ask(), ask(), ask()]);

    expect(fills).toBe(1);
    expect(new Set(paths)).toEqual(new Set([join(directory, 'some-1', 'program')]));
  });

  it('takes the next way when one fails', async () => {
    const path = await installOnce(recipe([failing, working]), directory, report, signal);

    expect(path).toBe(join(directory, 'some-1', 'program'));
  });

  it('leaves nothing behind when every way fails, and says what to install', async () => {
    await expect(installOnce(recipe([failing]), directory, report, signal)).rejects.toMatchObject({
      code: 'PROGRAM_NOT_FOUND',
      message: 'some could not be installed: install Some 1, or use `docker compose up`.',
      cause: { message: 'the way is blocked' },
    });

    expect(await readdir(directory)).toEqual([]);
  });

  it('clears away what a killed process had begun', async () => {
    await mkdir(join(directory, '.installing-some-1-killed'));

    await installOnce(recipe([working]), directory, report, signal);

    expect(await readdir(directory)).toEqual(['some-1']);
  });

  it('stops trying when it is given up', async () => {
    const interruption = new AbortController();
    const interrupted: InstallWay = {
      step: 'being interrupted',
      fill: () => {
        interruption.abort(new Error('interrupted'));
        return Promise.reject(new Error('broken off'));
      },
    };

    await expect(
      installOnce(recipe([interrupted, working]), directory, report, interruption.signal),
    ).rejects.toThrow('interrupted');

    expect(await readdir(directory)).toEqual([]);
  });
});

describe('finding a program', () => {
  const variable = 'CLUSTER_TEST_PROGRAM';

  afterEach(() => {
    delete process.env[variable];
  });

  it('prefers the path in the environment to the one on PATH', async () => {
    process.env[variable] = join(directory, 'mine');
    await writeFile(join(directory, 'mine'), '');

    await expect(findOrInstall(recipe([failing]), report, signal)).resolves.toBe(
      join(directory, 'mine'),
    );
  });

  it('refuses a path in the environment that leads nowhere, naming the variable', async () => {
    process.env[variable] = join(directory, 'nothing');

    await expect(findOrInstall(recipe([working]), report, signal)).rejects.toThrow(
      /CLUSTER_TEST_PROGRAM must be the path of the program some/,
    );
  });

  it('installs nothing when the program is on PATH', async () => {
    await expect(findOrInstall(recipe([failing]), report, signal)).resolves.toBe('/on/path/some');
  });
});

const failing: InstallWay = {
  step: 'failing',
  fill: async (place) => {
    await writeFile(join(place, 'program'), 'half');
    throw new Error('the way is blocked');
  },
};

const working: InstallWay = {
  step: 'writing it',
  fill: (place) => writeFile(join(place, 'program'), 'whole'),
};

function recipe(ways: InstallWay[]): Recipe {
  return {
    name: 'some',
    variable: 'CLUSTER_TEST_PROGRAM',
    variableHolds: 'the program some',
    onPath: () => Promise.resolve('/on/path/some'),
    cacheEntry: 'some-1',
    program: 'program',
    ways,
    advice: 'install Some 1',
  };
}
