/** docs/reliability.md says of each fault what it cost, and of each sabotage that it is noticed. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { faults } from '../faults/faults';
import { sabotages } from '../faults/sabotages';
import { spreadingFaults } from '../faults/spreading';

const page = readFileSync(path.join(__dirname, '..', '..', 'docs', 'reliability.md'), 'utf8');

test.each([...faults, ...spreadingFaults, ...sabotages].map(({ name }) => name))(
  'the page tells of %s',
  (name) => {
    expect(page).toContain(`\`${name}\``);
  },
);
