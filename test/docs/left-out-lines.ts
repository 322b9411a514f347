/**
 * What notices a line of docs/extending.md that is left out: `node launch.mjs run
 * test/docs/left-out-lines.ts` follows its sections 1 to 3 in a copy of the project, each time without
 * one line, one part of a line, or one step, and prints a Markdown table of what noticed. A regular
 * expression as its argument picks some of them. It takes about ten minutes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runProgram } from '../../platform/process/program';
import { linesOf, omittedFrom, partsOf, unsaidFrom, type Omission } from './omissions';
import { readPage } from './markdown';
import { copyProject, type ProjectCopy } from './project-copy';
import { watchTypes } from './type-check';
import { stepsBefore, stepsOf, type Step } from './walkthrough';

/** Something that is left out, of the copy in which all else was done. */
interface Variant {
  readonly place: string;
  readonly leftOut: string;
  /** Whether `npm run generate` comes after it, and may notice it, or make it good. */
  readonly generates: boolean;
  leaveOut(copy: ProjectCopy): Promise<unknown>;
}

/** What noticed, and what it said. */
interface Notice {
  readonly by: string;
  readonly message: string;
}

type Find = () => Promise<string | undefined>;

const generate = 'npm run generate';
const followed = stepsBefore(stepsOf(readPage('docs/extending.md')), 'npm run new -- command');

async function main(): Promise<void> {
  const only = new RegExp(process.argv[2] ?? '');
  const copy = await copyProject();
  try {
    const variants = await prepare(copy);
    const rows: [Variant, Notice | undefined][] = [];
    for (const variant of variants) {
      if (!only.test(`${variant.place} ${variant.leftOut}`)) continue;
      const notice = await noticed(copy, variant);
      rows.push([variant, notice]);
      process.stderr.write(`${rows.length}. ${variant.place}: ${notice?.by ?? 'nothing'}\n`);
    }
    process.stdout.write(toTable(rows));
  } finally {
    await copy.remove();
  }
}

/**
 * Follows the page, and keeps states of the copy to return to, as tags: filled in, registered, and
 * generated. Returns what can be left out.
 */
async function prepare(copy: ProjectCopy): Promise<Variant[]> {
  const keep = (state: string): Promise<string> =>
    copy.run(
      `git add -A && git -c user.name=test -c user.email=test commit -q --allow-empty -m ${state} && git tag ${state}`,
    );
  await copy.run('git init -q && echo node_modules >> .git/info/exclude');
  await keep('original');
  const variants: Variant[] = [];
  for (const step of followed) {
    if (step.kind === 'run') {
      if (step.command !== generate) await copy.follow(step);
      continue;
    }
    const before = await readFile(path.join(copy.folder, step.file), 'utf8');
    await copy.follow(step);
    variants.push(...(await omissionsOf(copy, step)), wholeStep(step, before));
  }
  await keep('unregistered');
  await copy.run('node launch.mjs run scaffold/register.ts');
  await keep('registered');
  await copy.run(generate);
  await keep('generated');
  const notice = await noticed(copy, nothing);
  if (notice !== undefined)
    throw new Error(`With nothing left out: ${notice.by}: ${notice.message}`);
  return [...variants, ...forgottenFiles];
}

/** Shows that whoever notices something below notices what is left out. */
const nothing: Variant = {
  place: 'projections/index.ts',
  leftOut: 'nothing',
  generates: true,
  leaveOut: () => Promise.resolve(),
};

async function omissionsOf(copy: ProjectCopy, step: Exclude<Step, { kind: 'run' }>) {
  const { file } = step;
  const text = await readFile(path.join(copy.folder, file), 'utf8');
  const lines = linesOf(step);
  const omissions = [
    ...lines.map((line) => omittedFrom(text, line)),
    ...partsOf(text, lines),
    ...unsaidFrom(text, lines),
  ];
  return omissions.map(({ leftOut, rest }: Omission): Variant => ({
    place: file,
    leftOut,
    generates: true,
    leaveOut: ({ folder }) => writeFile(path.join(folder, file), rest),
  }));
}

function wholeStep({ file }: Exclude<Step, { kind: 'run' }>, before: string): Variant {
  return {
    place: file,
    leftOut: 'all of it: as it was before, or as the generator wrote it',
    generates: true,
    leaveOut: ({ folder }) => writeFile(path.join(folder, file), before),
  };
}

/** What `npm run generate` writes, and somebody does not commit. */
const forgottenFiles: readonly Variant[] = [
  {
    place: generate,
    leftOut: 'all of it',
    generates: false,
    leaveOut: (copy) => copy.run('git checkout -q unregistered'),
  },
  ...[
    ['events/types/index.ts', 'the line of `review-posted`'],
    ['projections/tables/index.ts', 'the line of `user-activity`'],
    ['events/released/ReviewPosted.1.json', 'the file'],
    ['migrations/', 'the new file'],
    ['projections/released.json', 'its changes'],
    ['migrations/ projections/released.json', 'the changes of both'],
  ].map(([files, leftOut]): Variant => ({
    place: files!,
    leftOut: leftOut!,
    generates: false,
    leaveOut: (copy) =>
      copy.run(
        `git rm -rqf ${files} && (git checkout -q original -- ${files} 2>/dev/null || true)`,
      ),
  })),
];

/** What looks, in this order; the first to say something noticed. */
const noticesOf = (copy: ProjectCopy, { generates, place }: Variant): [string, Find][] => {
  const says =
    (command: string, line: RegExp): Find =>
    () =>
      complaintOf(copy, command, line);
  return [
    // Where most is found; all of the project takes long, and comes last.
    ['types', async () => types(copy)(new RegExp(`^${place}$`))],
    ['types', async () => types(copy)(/^(events|projections|scaffold)\//)],
    ['start', says('node --require ./typescript.cjs projections/definition.ts', /Error: (.*)/)],
    ...(generates
      ? [[generate, says(generate, /^(?![>\s]|wrote |.* failed:)(.+)/m)] as [string, Find]]
      : []),
    ['lint', says('npx knip', /^((?!.* failed:).+)/m)],
    ...(generates
      ? [['lint', says(`npx eslint ${place}`, /^ +\d+:\d+ +error +(.*)/m)] as [string, Find]]
      : []),
    [
      'test',
      says(jest('unit', 'test/(scaffold|projections)|test/events/(types|released)'), /● (.*)/),
    ],
    ['test', says(jest('unit', 'test/events'), /● (.*)/)],
    ['types', async () => types(copy)(/./)],
  ];
};

let watched: ReturnType<typeof watchTypes> | undefined;
const types = (copy: ProjectCopy): ReturnType<typeof watchTypes> =>
  (watched ??= watchTypes(copy.folder));

async function noticed(copy: ProjectCopy, variant: Variant): Promise<Notice | undefined> {
  await copy.run(
    `git checkout -qf ${variant.generates ? 'registered' : 'generated'} && git clean -fdq`,
  );
  await variant.leaveOut(copy);
  for (const [by, find] of noticesOf(copy, variant)) {
    const message = await find();
    if (message !== undefined) return { by, message };
  }
  return undefined;
}

/** What a command says of a failure; undefined if it succeeds. */
async function complaintOf(
  copy: ProjectCopy,
  command: string,
  line: RegExp,
): Promise<string | undefined> {
  try {
    await copy.run(command);
    return undefined;
  } catch (error) {
    const { message } = error as Error;
    return (line.exec(message)?.[1] ?? message).trim();
  }
}

function jest(project: string, files: string): string {
  return `npx jest --bail --selectProjects=${project} --maxWorkers=1 --testPathPatterns '${files}'`;
}

function toTable(rows: readonly [Variant, Notice | undefined][]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const lines = rows.map(([{ place, leftOut }, notice]) => {
    const said =
      notice === undefined ? '' : `\`${shortened(notice.message).replaceAll('`', "'")}\``;
    return `| \`${place}\` | ${cell(leftOut)} | ${notice?.by ?? '**nothing**'} | ${cell(said)} |\n`;
  });
  const silent = rows.filter(([, notice]) => notice === undefined).length;
  return `| file | left out | noticed by | its first line |\n|---|---|---|---|\n${lines.join('')}\n${rows.length} left out, ${silent} of them unnoticed.\n`;
}

// The compiler repeats whole types.
const shortened = (text: string): string => (text.length > 140 ? `${text.slice(0, 140)} …` : text);

runProgram(main);
