/** Step: the operator's command that checks the invariants of everything that ever happened here. */
import { join } from 'node:path';
import { runCommand } from '../command';
import { eventually } from './confirm';
import type { World } from './world';

/** Runs `verify` until all of its rules hold, for what happened a moment ago is still on its way. */
export async function runVerify({ page, signal, environment }: World): Promise<void> {
  page.say('npm run ops -- verify --grace 0');
  const rules = await eventually(signal, 'all rules of `npm run ops -- verify` hold', () =>
    runCommand(
      process.execPath,
      ['--require', './typescript.cjs', 'operations/cli/main.ts', 'verify', '--grace', '0'],
      { cwd: join(__dirname, '..', '..'), environment, signal },
    ),
  );
  for (const rule of rules.trimEnd().split('\n')) page.show(rule);
  page.confirmed('nothing is lost, and nothing counted twice');
}
