import { readFileSync } from 'node:fs';
import path from 'node:path';
import { runbookBlocks } from '../../../api/dashboard/client/runbook-text';

const runbook = readFileSync(path.join(__dirname, '../../../docs/runbook.md'), 'utf8');
const anchors = [...runbook.matchAll(/^### (.+)$/gm)].map(([, title]) => title!.toLowerCase());

test('a section has its four steps, and its links lead to other sections', () => {
  const section = runbookBlocks(runbook, 'outboxnotpublished');
  expect(section?.title).toBe('OutboxNotPublished');
  expect(section?.blocks.map(({ text }) => text[0])).toEqual(
    ['What it means.', 'How to see it.', 'What to do.', 'When it is over.'].map((text) => ({
      kind: 'strong',
      text,
    })),
  );
  const pieces = section!.blocks.flatMap(({ text }) => text);
  expect(pieces).toContainEqual({ kind: 'code', text: 'npm run cluster -- start kafka' });
  expect(pieces).toContainEqual({ kind: 'text', text: 'AuditFindings', anchor: 'auditfindings' });
});

test('what stands below an item is kept with it', () => {
  const items = runbookBlocks(runbook, 'auditfindings')?.blocks[2]?.items;
  expect(items?.[0]?.[0]).toEqual({ kind: 'code', text: 'unpublished' });
});

test.each(anchors)('%s is read whole, without a mark of Markdown left in it', (anchor) => {
  const section = runbookBlocks(runbook, anchor);
  expect(section?.blocks).toHaveLength(4);
  const texts = section!.blocks
    .flatMap(({ text, items }) => [text, ...items].flat())
    .filter(({ kind }) => kind === 'text');
  expect(texts.filter(({ text }) => /\*\*|\]\(|`/.test(text))).toEqual([]);
});

test('there is no section of another name', () => {
  expect(runbookBlocks(runbook, 'nothing')).toBeUndefined();
});
