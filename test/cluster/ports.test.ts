/** The cluster's ports: defaults, variables and free ones. */
import { createServer, type AddressInfo, type Server } from 'node:net';
import { assertPortFree, findFreePorts, portsFromEnvironment } from '../../cluster/ports';

describe('the ports of a cluster', () => {
  it('are the documented ones when nothing is set', () => {
    expect(portsFromEnvironment({})).toMatchObject({
      postgres: 15432,
      redis: 16379,
      kafka: 19092,
      kafka2: 19192,
      kafka3: 19292,
      temporal: 17233,
      temporalUi: 18233,
    });
  });

  it("follow the variables, Kafka's controller beside Kafka", () => {
    const ports = portsFromEnvironment({ CLUSTER_KAFKA_PORT: '29092', CLUSTER_REDIS_PORT: '1' });

    expect(ports).toMatchObject({ kafka: 29092, kafkaController: 29093, redis: 1 });
  });

  it('give each of three brokers a port of its own, a hundred apart', () => {
    expect(portsFromEnvironment({ CLUSTER_KAFKA_PORT: '29092' })).toMatchObject({
      kafka2: 29192,
      kafka2Controller: 29193,
      kafka3: 29292,
      kafka3Controller: 29293,
    });
    expect(
      portsFromEnvironment({ CLUSTER_KAFKA_2_PORT: '2', CLUSTER_KAFKA_3_PORT: '3' }),
    ).toMatchObject({
      kafka: 19092,
      kafka2: 2,
      kafka2Controller: 3,
      kafka3: 3,
      kafka3Controller: 4,
    });
  });

  it.each(['0', '65536', '1.5', 'many'])('are refused by name when set to %s', (value) => {
    expect(() => portsFromEnvironment({ CLUSTER_TEMPORAL_UI_PORT: value })).toThrow(
      /CLUSTER_TEMPORAL_UI_PORT must be a port from 1 to 65535/,
    );
  });

  it('are found free, each once', async () => {
    const ports = Object.values(await findFreePorts());

    expect(new Set(ports).size).toBe(11);
    await Promise.all(ports.map((port: number) => assertPortFree('any', 'redis', port)));
  });
});

describe('a port in use', () => {
  let occupant: Server;

  beforeAll(async () => {
    occupant = createServer();
    await new Promise<void>((resolve) => occupant.listen(0, '127.0.0.1', resolve));
  });

  afterAll(() => occupant.close());

  it('is named together with its server and variable', async () => {
    const { port } = occupant.address() as AddressInfo;

    await expect(assertPortFree('temporal', 'temporalUi', port)).rejects.toThrow(
      `Port ${port}, which temporal needs, is in use by another program: ` +
        'stop that program, or set CLUSTER_TEMPORAL_UI_PORT to a free port.',
    );
  });
});
