/** A moment at which the fault suite ends a process must come: it is named after a statement of the product. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { faults } from '../faults/faults';

const activities = path.join(__dirname, '..', '..', 'activities');
const moments = faults.flatMap(({ name }) => /^kill-at-[a-z]+-(.+)$/.exec(name)?.[1] ?? []);

test('every moment of the fault suite is one of a statement that an activity sends', () => {
  const code = readdirSync(activities, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(path.join(activities, file), 'utf8'))
    .join('\n');
  const sent = (statement: string) =>
    code.includes(`name: '${statement}'`) || code.includes(`/* ${statement} */`);
  expect(moments.length).toBeGreaterThan(5);
  expect(moments.filter((statement) => !sent(statement))).toEqual([]);
});
