/** How the stack of `npm run test:container` differs from that of `docker compose up`, and its stand-ins. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { overrideOf } from './compose';
import { applicationImage, officialImages, services, standInOf, type Service } from './images';

const resets = { tag: '!reset', resolve: () => 'taken away' };

function overriddenOn(engine: { isOwn: boolean; version: string }, image: string) {
  const text = overrideOf(services(), engine, image);
  return (parse(text, { customTags: [resets] }) as { services: Record<string, Partial<Service>> })
    .services;
}

it('has a stand-in for every official image, and asks nobody for ours', () => {
  const without = officialImages().filter(
    (image) => !existsSync(path.join(standInOf(image), 'Dockerfile')),
  );

  expect(without).toEqual([]);
  expect(officialImages()).not.toContain(applicationImage);
  expect(officialImages().length).toBeGreaterThanOrEqual(5);
});

it('publishes no port and replaces no image of an engine that others use', () => {
  const overridden = overriddenOn({ isOwn: false, version: '28.0.4' }, 'a-test');

  for (const [name, { image, ports, build }] of Object.entries(services())) {
    expect({ name, ports: overridden[name]?.ports }).toEqual({
      name,
      ports: ports === undefined ? undefined : 'taken away',
    });
    expect({ name, image: overridden[name]?.image }).toEqual({
      name,
      image: image === applicationImage ? 'a-test' : undefined,
    });
    // What Docker builds with is the user's.
    if (build !== undefined) expect(overridden[name]?.build).toBeUndefined();
  }
});

it('changes nothing of the health checks on an engine that knows them', () => {
  const [recent, old] = ['25.0.0', '20.10.24'].map((version) =>
    overriddenOn({ isOwn: true, version }, applicationImage),
  );

  expect(recent?.['api']?.healthcheck).toBeUndefined();
  expect(old?.['api']?.healthcheck).toEqual({ interval: '1s', start_interval: 'taken away' });
  expect(old?.['jaeger']?.healthcheck).toBeUndefined();
});
