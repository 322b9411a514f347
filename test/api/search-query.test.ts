import { readQuery } from '../../api/search/query';

test.each<[text: string, place: object | undefined]>([
  ['order-events/3@17', { topic: 'order-events', partition: 3, offset: 17 }],
  ['order-events/3:17', { topic: 'order-events', partition: 3, offset: 17 }],
  ['order-events/3 at 17', { topic: 'order-events', partition: 3, offset: 17 }],
  ['order-events/3, offset 17', { topic: 'order-events', partition: 3, offset: 17 }],
  ['  catalog-events/0@0 ', { topic: 'catalog-events', partition: 0, offset: 0 }],
  ['order-events/3', undefined],
  ['order-events/-3@17', undefined],
  ['order-events/3@1.5', undefined],
  ['order-events/99999999999@17', undefined],
  ['order-events/3@9999999999999999', undefined],
])('%p as a place is %j', (text, place) => {
  expect(readQuery(text).place).toEqual(place);
});

test.each<[text: string, deadLetterId: number | undefined]>([
  ['#13', 13],
  ['13', 13],
  [' #13 ', 13],
  ['#0', undefined],
  ['#', undefined],
  ['13a', undefined],
  ['#99999999999999999', undefined],
])('%p as a dead letter is %p', (text, deadLetterId) => {
  expect(readQuery(text).deadLetterId).toBe(deadLetterId);
});

test.each<[text: string, id: string | undefined]>([
  ['tea-1', 'tea-1'],
  ['  tea-1 ', 'tea-1'],
  ['from:elsewhere/1', 'from:elsewhere/1'],
  ['two words', undefined],
  ['녹차', undefined],
  ['', undefined],
])('%p as an ID is %p', (text, id) => {
  expect(readQuery(text).id).toBe(id);
});

test('any text may be of a name', () => {
  expect(readQuery(' first flush ').words).toBe('first flush');
  expect(readQuery('茶').words).toBe('茶');
});
