/** The HTTP server: its limits, its plugins in their order, and every group of routes. */
import { randomUUID } from 'node:crypto';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { serializerCompiler, type FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Config } from '../platform/process/config';
import { createProductCache } from '../cache/product-cache';
import { createConsumptionOperations } from '../operations/consumption';
import { createReplayOperations } from '../operations/replays';
import { createDeadLetterOperations } from '../operations/dead-letters';
import { createEventJourneys } from '../operations/event-journey';
import { createOrderOperations } from '../operations/orders';
import { createPipelineState } from '../operations/pipeline-state';
import { watchServers, type ServerWatch } from '../operations/status/servers';
import { createSystemStatus } from '../operations/status/status';
import { createVerificationRuns } from '../operations/verification-runs';
import { createProductMetricsReads } from './product-metrics/reads';
import { createEventReads } from './events/reads';
import { createHandlingRateReads } from './handling-rates/reads';
import { createCommands } from './commands/temporal-commands';
import { asQueryable, createDatabase } from './http/database';
import { createDemonstration } from './demonstration/scenarios';
import { createChangePlaces, type ChangePlaces } from './http/change-places';
import type { ApiDependencies, Services } from './http/dependencies';
import { createHandledEventFeed } from './stream/handled-event-feed';
import { createHandledEventReads } from './stream/handled-events';
import { createIdempotencyStore } from './idempotency/store';
import { openApi } from './openapi/document';
import { openApiViewer } from './openapi/viewer';
import { knownPaths, refuseOtherMethods } from './http/plugins/allowed-methods';
import { authentication } from './http/plugins/authentication';
import { authorization } from './http/plugins/authorization';
import { idempotency } from './idempotency/plugin';
import { jsonBodies } from './http/plugins/json-bodies';
import { loadLimits, type LoadLimits } from './http/plugins/load-limits';
import { pipelining } from './http/plugins/pipelining';
import { answerClientError, answerError, problemDetails } from './http/plugins/problem-details';
import { requestLog } from './http/plugins/request-log';
import { securityHeaders } from './http/plugins/security-headers';
import { shutdown } from './http/plugins/shutdown';
import { telemetry } from './http/plugins/telemetry';
import { createOrderReads } from './orders/reads';
import { createOrderBound } from './orders/undecided-orders';
import { boundDatabase } from './http/overload';
import { validateInput } from './http/validation';
import { withOutagesAsProblems } from './pipeline/outages';
import { createProductDetails } from './products/details';
import { createProductInspection } from './product-inspection/reads';
import { dashboardRoutes, dashboardSettingsRoutes } from './dashboard/routes';
import { deadLetterRoutes } from './dead-letters/routes';
import { deadLetterTriageRoutes } from './dead-letters/triage-routes';
import { demonstrationRoutes } from './demonstration/routes';
import { documentRoutes } from './documents/routes';
import { eventRoutes } from './events/routes';
import { createReadinessReading, healthRoutes } from './health/routes';
import { handlingRateRoutes } from './handling-rates/routes';
import { productInspectionRoutes } from './product-inspection/routes';
import { productMetricsRoutes } from './product-metrics/routes';
import { orderInspectionRoutes } from './orders/inspection-routes';
import { orderRoutes } from './orders/routes';
import { consumptionRoutes } from './pipeline/consumption-routes';
import { replayRoutes } from './pipeline/replay-routes';
import { pipelineRoutes } from './pipeline/routes';
import { productRoutes } from './products/routes';
import { createSearch } from './search/reads';
import { searchRoutes } from './search/routes';
import { explainUnmeasured } from './status/reasons';
import { statusRoutes } from './status/routes';
import { streamRoutes } from './stream/routes';
import { verificationRoutes } from './verification/routes';
import { handOverToWorkflow } from './products/view-hand-over';
import { createViewPublisher } from './products/view-publisher';

/** Every group of routes below `/v1`, which need a key. A new group is added here. */
const routeGroups: readonly ((services: Services) => FastifyPluginAsyncZod)[] = [
  productRoutes,
  orderRoutes,
  orderInspectionRoutes,
  productMetricsRoutes,
  handlingRateRoutes,
  eventRoutes,
  deadLetterRoutes,
  deadLetterTriageRoutes,
  searchRoutes,
  streamRoutes,
  pipelineRoutes,
  consumptionRoutes,
  replayRoutes,
  statusRoutes,
  verificationRoutes,
  productInspectionRoutes,
  dashboardSettingsRoutes,
  demonstrationRoutes,
];

/** Largest body of a request, in bytes. */
const bodyLimitBytes = 64 * 1024;

/** The server, ready to listen. Closing it lets requests under way finish; `dependencies` stay open. */
export async function createServer(dependencies: ApiDependencies): Promise<FastifyInstance> {
  const app = createInstance(dependencies);
  const readReadiness = createReadinessReading(dependencies);
  const servers = watchServers(readReadiness);
  app.addHook('onClose', async () => servers.stop());
  const { config, logger } = dependencies;
  const places = createChangePlaces({ most: config.API_MAX_CHANGES, logger });
  const services = createServices(dependencies, servers, places);
  // Runs after the last request, so that no view follows.
  app.addHook('onClose', () => services.views.stop());
  app.addHook('onClose', () => services.verificationRuns.stop());
  await app.register(shutdown);
  await app.register(telemetry);
  await app.register(requestLog);
  await app.register(problemDetails);
  await app.register(securityHeaders);
  await app.register(jsonBodies);
  await app.register(knownPaths);
  await app.register(openApi);
  await app.register(openApiViewer);
  await app.register(documentRoutes);
  await app.register(healthRoutes(readReadiness));
  await app.register(dashboardRoutes);
  await app.register(
    async (v1) => {
      // Answers depend on the caller: no proxy or browser may cache them.
      v1.addHook('onRequest', (_, reply, done) => {
        reply.header('cache-control', 'no-store');
        done();
      });
      await v1.register(authentication, { keys: config.API_KEYS });
      await v1.register(idempotency, {
        store: createIdempotencyStore(services.database, logger),
      });
      await v1.register(pipelining);
      await v1.register(loadLimits, limitsOf(config, places));
      await v1.register(authorization);
      for (const routes of routeGroups) await v1.register(routes(services));
    },
    { prefix: '/v1' },
  );
  refuseOtherMethods(app);
  return app;
}

function limitsOf(config: Config, places: ChangePlaces): LoadLimits {
  return {
    readsPerSecond: config.API_READS_PER_SECOND,
    changesPerSecond: config.API_CHANGES_PER_SECOND,
    places,
  };
}

function createInstance({ config, logger }: ApiDependencies): FastifyInstance {
  // As its general type, or the server's type would carry the logger's everywhere.
  const loggerInstance: FastifyBaseLogger = logger;
  const app = Fastify({
    loggerInstance,
    genReqId: () => randomUUID(),
    // plugins/request-log.ts writes the one line that a request gets.
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: 'requestId',
    }),
    bodyLimit: bodyLimitBytes,
    // Room for an ID that is too long to reach its schema, which names the field.
    routerOptions: { maxParamLength: 1_024 },
    // Against slow requests (slowloris).
    requestTimeout: 15_000,
    http: { maxHeaderSize: 16 * 1024, headersTimeout: 10_000, connectionsCheckingInterval: 2_000 },
    // Against slow readers and idle connections.
    connectionTimeout: 60_000,
    keepAliveTimeout: config.API_KEEP_ALIVE_MS,
    // During shutdown, requests on open connections are still served, with connection: close.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      // No hook runs without a route, so none adds the security headers.
      void answerError(error, request, reply.header('x-content-type-options', 'nosniff'));
    },
    clientErrorHandler: answerClientError,
  });
  app.server.maxConnections = config.API_MAX_CONNECTIONS;
  app.setValidatorCompiler(validateInput);
  app.setSerializerCompiler(serializerCompiler);
  return app;
}

function createServices(
  dependencies: ApiDependencies,
  servers: ServerWatch,
  places: ChangePlaces,
): Services {
  const { config, pool, redis, kafka, sender, spool, temporal, logger } = dependencies;
  const database = createDatabase(pool);
  // Reads leave a quarter of the connections to changes, or at least one.
  const reads = boundDatabase(database, {
    maxRunning: Math.max(Math.floor(pool.options.max * 0.75), 1),
    maxWaiting: 200,
    maxWaitMs: 2_000,
  });
  const commands = createCommands(temporal, { onAnswered: (beganAt) => places.answered(beganAt) });
  const groupId = config.BRIDGE_GROUP_ID;
  const orderReadsOfChanges = createOrderReads(database);
  const handledEventReads = createHandledEventReads(reads);
  const pipelineState = withOutagesAsProblems(createPipelineState({ kafka, temporal, groupId }));
  return {
    config,
    database,
    commands,
    consumption: createConsumptionOperations(asQueryable(database)),
    deadLetters: createDeadLetterOperations(
      { database: asQueryable(database), temporal },
      // Below the lease of an Idempotency-Key, which leaves time to record the answer.
      { commandTimeoutMs: 10_000, matchingTimeoutMs: 15_000 },
    ),
    demonstration: config.DEMONSTRATION
      ? createDemonstration({ database, commands, sender })
      : undefined,
    eventJourneys: createEventJourneys({
      database: asQueryable(reads),
      temporal,
      readProgress: pipelineState.readLag,
    }),
    eventReads: createEventReads(reads),
    handledEvents: createHandledEventFeed(handledEventReads, logger),
    handledEventReads,
    handlingRateReads: createHandlingRateReads(reads),
    orderBound: createOrderBound(
      { ...orderReadsOfChanges, findRunningOrder: commands.findRunningOrder },
      config.API_MAX_ORDERS_PER_USER,
    ),
    orderOperations: createOrderOperations({ database: asQueryable(reads), temporal }),
    orderReads: createOrderReads(reads),
    orderReadsOfChanges,
    pipelineState,
    productDetails: createProductDetails({
      database: reads,
      changeDatabase: database,
      cache: createProductCache(redis),
      logger,
    }),
    productInspection: createProductInspection({ database: reads, redis, logger }),
    productMetricsReads: createProductMetricsReads(reads),
    replays: createReplayOperations({ database: asQueryable(database), kafka }),
    search: createSearch({ database: reads, kafka }),
    systemStatus: createSystemStatus({
      servers,
      database: asQueryable(reads),
      pipeline: pipelineState,
      temporal,
      explain: explainUnmeasured,
      logger,
    }),
    verificationRuns: createVerificationRuns({
      database: asQueryable(database),
      ...{ pool, kafka, groupId, logger },
    }),
    views: createViewPublisher({
      sender,
      spool,
      handOver: handOverToWorkflow(temporal),
      logger,
    }),
  };
}
