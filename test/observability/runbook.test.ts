/** docs/runbook.md has a section for each alert, and each alert leads to it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readAlerts, readDashboard } from '../../testkit/observability-files';

const text = readFileSync(path.join(__dirname, '..', '..', 'docs', 'runbook.md'), 'utf8');
const sections = text
  .split(/^### /m)
  .slice(1)
  .map((section) => section.split(/^## /m)[0]!)
  .map((section) => ({ title: section.split('\n', 1)[0]!, body: section }));

test('each alert has its section, and each section its alert', () => {
  const alerts = readAlerts().map(({ alert }) => alert);

  expect(sections.map(({ title }) => title)).toEqual(alerts);
});

test.each(readAlerts())('$alert links to its section', ({ alert, annotations }) => {
  // The anchor that a heading of one word gets.
  expect(annotations.runbook_url).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
});

test.each(sections)(
  '$title: what it means, how to see it, what to do, when it is over',
  (section) => {
    const steps = [...section.body.matchAll(/^- \*\*(.+?)\*\* \S/gm)].map(([, step]) => step);

    expect(steps).toEqual(['What it means.', 'How to see it.', 'What to do.', 'When it is over.']);
  },
);

test('links lead to sections that exist', () => {
  const anchors = sections.map(({ title }) => `#${title.toLowerCase()}`);
  const links = [...text.matchAll(/\]\((#[^)]+)\)/g)].map(([, link]) => link!);

  expect(links.length).toBeGreaterThan(10);
  expect(links.filter((link) => !anchors.includes(link))).toEqual([]);
});

test('panels of the dashboard are named as they are', () => {
  const titles = readDashboard().panels.map(({ title }) => title);
  const sentences = text.match(/Dashboard[:,].*?(?:\.\s|$)/gm) ?? [];
  const named = sentences.flatMap((sentence) =>
    [...sentence.matchAll(/\*(.+?)\*/g)].map(([, panel]) => panel!),
  );

  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !titles.some((title) => title.startsWith(name)))).toEqual([]);
});
