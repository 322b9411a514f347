import { findVanished, type SeenProgress } from '../../activities/collector/vanished-offsets';

type Look = [committed: number | null, start: number, end: number];

function look([committed, start, end]: Look): SeenProgress {
  return { committed, start, end };
}

const retention = (from: number, to: number) => ({ from, to, reason: 'RETENTION' });
const madeAnew = (from: number, to?: number) => ({
  from,
  ...(to === undefined ? {} : { to }),
  reason: 'TOPIC_MADE_ANEW',
});

test.each<[what: string, seen: Look | undefined, now: Look, expected: object | undefined]>([
  ['nothing when the group goes on', [5, 0, 9], [9, 0, 12], undefined],
  ['nothing at the first look at a healthy group', undefined, [5, 0, 9], undefined],
  ['nothing where nobody has ever read', undefined, [null, 7, 9], undefined],
  ['nothing when what was read is deleted', [5, 0, 9], [9, 7, 12], undefined],
  ['what was deleted before it was read', [5, 0, 9], [5, 8, 9], retention(5, 7)],
  ['the same at the first look', undefined, [5, 8, 9], retention(5, 7)],
  ['the same where the consumer has given its offset up', [5, 0, 9], [null, 9, 9], retention(5, 8)],
  ['the same only once', [5, 8, 9], [5, 8, 12], undefined],
  ['only what is new of it', [5, 8, 9], [5, 11, 12], retention(8, 10)],
  ['what is deleted before anybody read anything', [null, 0, 9], [null, 4, 9], retention(0, 3)],
  ['a topic made anew', [5, 0, 9], [null, 0, 0], madeAnew(5, 8)],
  ['a topic made anew and read again', [5, 0, 9], [2, 0, 3], madeAnew(5, 8)],
  ['a topic made anew when all that was seen had been read', [9, 0, 9], [null, 0, 0], madeAnew(9)],
  ['an offset of an old topic at the first look', undefined, [700, 0, 3], madeAnew(700)],
  ['the same only once', [700, 0, 3], [700, 0, 4], undefined],
  ['a log that was cut', [5, 0, 9], [5, 0, 7], madeAnew(7, 8)],
  ['nothing when what was cut off had been read', [9, 0, 9], [9, 0, 7], undefined],
])('two looks tell of %s', (_what, seen, now, expected) => {
  expect(findVanished(seen && look(seen), look(now))).toEqual(expected);
});
