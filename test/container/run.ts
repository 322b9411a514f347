/**
 * `npm run test:container`: the real Dockerfile and Compose file on a real engine. Builds the image, brings
 * the stack up, orders, kills workers, verifies, stops. Official images where they can be pulled; it says
 * which are stand-ins, and what else differs from `docker compose up`.
 *
 * Where there is no way to an engine it says so in one line and passes. It leaves nothing behind, and takes
 * away nothing that it did not make.
 *
 * Its last line is `N passed, N failed`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runProgram } from '../../platform/process/program';
import { listenForSignals } from '../../testkit/test-cluster';
import { createProject, differencesOf, findCompose, type Project } from './compose';
import { findEngine, NoEngineError, type Engine } from './engine';
import { applicationImage, bringImages } from './images';
import { build, seconds, steps, type Step } from './steps';

interface Count {
  passed: number;
  failed: number;
}

async function main(): Promise<number> {
  const interruption = listenForSignals();
  const { signal } = interruption;
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-container-'));
  const count: Count = { passed: 0, failed: 0 };
  try {
    const engine = await findEngine(path.join(directory, 'engine'), signal);
    try {
      await tryAll(engine, directory, signal, count);
    } finally {
      await engine.stop();
    }
  } catch (error) {
    if (signal.aborted) return interruption.exitCode();
    if (!(error instanceof NoEngineError)) throw error;
    console.log(`skipped: ${error.message}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  console.log(`${count.passed} passed, ${count.failed} failed`);
  return count.failed === 0 ? 0 : 1;
}

async function tryAll(
  engine: Engine,
  directory: string,
  signal: AbortSignal,
  count: Count,
): Promise<void> {
  console.log(`Docker Engine ${engine.version}${engine.isOwn ? ', of the test’s own' : ''}`);
  const compose = await findCompose(signal);
  const from = Date.now();
  const standIns = await bringImages(engine, directory, signal);
  for (const image of standIns) console.log(`stand-in for ${image}`);
  for (const difference of differencesOf(engine))
    console.log(`unlike the real thing: ${difference}`);
  console.log(`images: ${seconds(Date.now() - from)}`);
  const project = await createProject(compose, engine, directory, signal);
  // Not the one that is aborted: what was begun is taken down.
  const ending = await createProject(compose, engine, directory, new AbortController().signal);
  try {
    if (!(await tryStep(build, project, count))) return;
    await engine.isolate();
    for (const step of steps) {
      if (!(await tryStep(step, project, count)) && step.isGround === true) return;
    }
  } finally {
    await takeDown(ending).catch((error: unknown) => console.log('not taken down:', error));
  }
}

async function takeDown({ compose, docker, image }: Project): Promise<void> {
  await compose(['down', '--volumes', '--timeout', '5']);
  // The name of another image than ours is the test's.
  if (image !== applicationImage) await docker('image', 'rm', image);
}

async function tryStep(step: Step, project: Project, count: Count): Promise<boolean> {
  project.signal.throwIfAborted();
  const from = Date.now();
  const took = (): string => seconds(Date.now() - from).padStart(8);
  try {
    const told = await step.run(project);
    console.log(`ok   ${took()}  ${step.name}: ${told}`);
    count.passed += 1;
    return true;
  } catch (error) {
    project.signal.throwIfAborted();
    console.log(`FAIL ${took()}  ${step.name}`);
    console.log(error);
    if (step.isGround === true) console.log(await lastWords(project));
    count.failed += 1;
    return false;
  }
}

/** What the containers said last, where nothing else tells why. */
function lastWords({ compose }: Project): Promise<string> {
  return compose(['logs', '--tail', '5', '--no-color']).catch(String);
}

runProgram(main);
