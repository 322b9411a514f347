/**
 * The thread that a worker's workflows run in. It is Temporal's own, without the stack that is recorded
 * for each promise; it notes which workflow is being run, for the watchdog in the main thread, and an
 * activation's answer brings its sink calls, for which the main thread would ask. JavaScript, so that
 * Node.js starts it as it is, from the sources and from `dist/`.
 */
'use strict';

const { Buffer } = require('node:buffer');
const { workerData } = require('node:worker_threads');
const sandbox = require('@temporalio/worker/lib/workflow/reusable-vm');
const { globalHandlers } = require('@temporalio/worker/lib/workflow/vm-shared');

/** @type {{ calls: import('./watchdog').SandboxCalls, stackTraces: boolean }} */
const { calls, stackTraces } = workerData;
const text = Buffer.from(calls.workflow.buffer);
let notedRunId;

if (!stackTraces) replace(globalHandlers, 'setPromiseHook', () => () => undefined);

replace(
  sandbox.ReusableVMWorkflowCreator.prototype,
  'createWorkflow',
  (create) =>
    function (options) {
      return noting(options.info, () => create.call(this, options));
    },
);
replace(
  sandbox.ReusableVMWorkflow.prototype,
  'activate',
  (activate) =>
    async function (activation) {
      const completion = await noting(this.activator.info, () => activate.call(this, activation));
      completion.sinkCalls = (await this.getAndResetSinkCalls()).filter(isWanted).map(toSend);
      return completion;
    },
);
replace(
  sandbox.ReusableVMWorkflow.prototype,
  'dispose',
  (dispose) =>
    function () {
      return noting(this.activator.info, () => dispose.call(this));
    },
);

require('@temporalio/worker/lib/workflow/workflow-worker-thread');

/** @throws Error where the SDK has nothing of that name: then the worker does without this thread */
function replace(holder, name, replacementOf) {
  const original = holder[name];
  if (typeof original !== 'function') throw new Error(`Temporal's SDK has no ${name} to replace.`);
  holder[name] = replacementOf(original);
}

/**
 * What `call` runs of a workflow it has run when it returns, even where it returns a promise: the
 * sandbox's microtasks run before it gives control back.
 */
function noting({ workflowType, workflowId, runId }, call) {
  if (runId !== notedRunId) {
    const bytes = text.write(JSON.stringify({ workflowType, workflowId, runId }));
    Atomics.store(calls.state, 1, bytes);
    notedRunId = runId;
  }
  Atomics.add(calls.state, 0, 1);
  try {
    return call();
  } finally {
    Atomics.add(calls.state, 0, 1);
  }
}

/** The runtime's logger drops lines below info; the SDK writes two of them for each workflow. */
function isWanted({ ifaceName, fnName }) {
  return !(ifaceName === '__temporal_logger' && (fnName === 'trace' || fnName === 'debug'));
}

/** As the SDK does it: functions cannot be sent, and the workflow goes on with its own. */
function toSend(call) {
  const unsafe = { ...call.workflowInfo.unsafe };
  delete unsafe.now;
  delete unsafe.random;
  return { ...call, workflowInfo: { ...call.workflowInfo, unsafe } };
}
