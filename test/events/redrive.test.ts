import { redrivenFrom, redrivenFromHeader, withRedrivenFrom } from '../../events/redrive';

const origin = { name: 'origin', base64: '/w==' };

test('a redriven message keeps its headers and says which dead letter it was', () => {
  const headers = withRedrivenFrom([origin, origin], 7);
  expect(headers).toEqual([origin, origin, { name: redrivenFromHeader, text: '7' }]);
  expect(redrivenFrom(headers)).toBe(7);
});

test('redriven again, it names the later dead letter only', () => {
  const headers = withRedrivenFrom(withRedrivenFrom([origin], 7), 12);
  expect(headers).toEqual([origin, { name: redrivenFromHeader, text: '12' }]);
});

test.each(['', '0', '-1', '1.5', ' 7', '7 ', '1e3', '9'.repeat(16), 'seven', '７'])(
  'a header of %j is no claim',
  (text) => {
    expect(redrivenFrom([{ name: redrivenFromHeader, text }])).toBeUndefined();
  },
);

test('a message without the header was not redriven', () => {
  expect(redrivenFrom([origin])).toBeUndefined();
});
