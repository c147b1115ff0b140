// A client of node-opcua: connects to an OPC UA bridge as the first argument (JSON) says, and prints what it finds as
// JSON lines. mode "refused": prints why it could not connect. mode "story": browses, subscribes, starts and stops a
// coil, receives its result, and acknowledges an alarm.
"use strict";

const {
  AttributeIds,
  DataType,
  MessageSecurityMode,
  OPCUACertificateManager,
  OPCUAClient,
  SecurityPolicy,
  TimestampsToReturn,
  UserTokenType,
  VariantArrayType,
  constructEventFilter,
  promoteOpaqueStructure,
  resolveNodeId,
} = require("node-opcua");

const asked = JSON.parse(process.argv[2]);
const PATIENCE_MS = 60_000;

function tell(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}

async function until(seen, what) {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    const found = await seen();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${what} did not come`);
}

async function open() {
  const manager = new OPCUACertificateManager({ rootFolder: asked.folder, automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  const client = OPCUAClient.create({
    applicationUri: asked.uri,
    applicationName: "foreign client",
    certificateFile: asked.certificate,
    privateKeyFile: asked.key,
    clientCertificateManager: manager,
    connectionStrategy: { maxRetry: 0, initialDelay: 100 },
    endpointMustExist: false,
    securityMode: MessageSecurityMode.SignAndEncrypt,
    securityPolicy: SecurityPolicy.Basic256Sha256,
  });
  await client.connect(asked.url);
  const session = await client.createSession({
    type: UserTokenType.UserName,
    userName: asked.user,
    password: asked.password,
  });
  return { client, session };
}

const ALARM_FIELDS = [
  "EventType", "EventId", "ConditionName", "ActiveState.Id", "AckedState.Id", "Severity", "Retain", "Message", "ConditionId",
];
const RESULT_FIELDS = ["EventType", "Message"];

async function story(session) {
  const namespaces = await session.readNamespaceArray();
  const own = namespaces.indexOf("urn:linewatch:opcua");
  const vision = namespaces.indexOf("http://opcfoundation.org/UA/MachineVision");
  const node = (name) => `ns=${own};s=${name}`;
  const results = ["ResultId", "JobId", "PartId", "IsPartial", "ResultState", "ResultContent"].map((name) => `${vision}:${name}`);

  const objects = await session.browse("ObjectsFolder");
  const system = await session.browse(node("VisionSystem"));
  tell({
    objects: objects.references.map((one) => one.browseName.name),
    system: system.references.map((one) => one.browseName.name),
  });

  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50,
    requestedLifetimeCount: 1000,
    requestedMaxKeepAliveCount: 20,
    maxNotificationsPerPublish: 0,
    publishingEnabled: true,
    priority: 1,
  });
  const values = [];
  const health = await subscription.monitor(
    { nodeId: node("Health.Heartbeat"), attributeId: AttributeIds.Value },
    { samplingInterval: 50, queueSize: 10, discardOldest: true },
    TimestampsToReturn.Both
  );
  health.on("changed", (value) => values.push(value.value.value));

  const heard = { alarms: [], results: [] };
  const listen = async (fields, type, into) => {
    const item = await subscription.monitor(
      { nodeId: resolveNodeId("Server"), attributeId: AttributeIds.EventNotifier },
      { samplingInterval: 0, queueSize: 1000, discardOldest: true, filter: constructEventFilter(fields, type) },
      TimestampsToReturn.Both
    );
    item.on("changed", (got) => into.push(Object.fromEntries(fields.map((name, at) => [name.split(":").pop(), got[at].value]))));
  };
  const ofType = (type) => require("node-opcua").ofType(type);
  await listen(ALARM_FIELDS, ofType(node("StripAlarmType")), heard.alarms);
  await listen([...RESULT_FIELDS, ...results], ofType(`ns=${vision};i=1024`), heard.results);
  await until(() => values.length > 3, "the heartbeat");
  tell({ heartbeats: values.length });

  // a coil of the client's
  const machine = node("VisionSystem.VisionStateMachine.AutomaticModeStateMachine");
  const structure = async (number, fields) => session.constructExtensionObject(resolveNodeId(`ns=${vision};i=${number}`), fields);
  const called = async (name, inputArguments) => {
    const answer = await session.call({ objectId: machine, methodId: `${machine}.${name}`, inputArguments });
    if (answer.statusCode.isNotGood()) throw new Error(`${name}: ${answer.statusCode.toString()}`);
    return answer.outputArguments.map((one) => one.value);
  };
  const object = async (number, fields) => ({ dataType: DataType.ExtensionObject, value: await structure(number, fields) });
  const [job] = await called("StartContinuous", [
    await object(3015, { id: "" }),
    await object(3004, { id: "N1" }),
    await object(3002, { id: "" }),
    await object(3003, { id: "" }),
    { dataType: DataType.Variant, arrayType: VariantArrayType.Array, value: [] },
  ]);
  const raised = await until(
    () => heard.alarms.find((one) => one.ConditionName === "latched" && one.Retain && !one["AckedState.Id"]),
    "an alarm"
  );
  const status = await session.acknowledgeCondition(raised.ConditionId, raised.EventId, "seen by node-opcua");
  await until(
    () => heard.alarms.find((one) => one["AckedState.Id"] && String(one.ConditionId) === String(raised.ConditionId)),
    "the acknowledged alarm"
  );
  tell({ acknowledged: status.name, severity: raised.Severity, condition: String(raised.ConditionId) });
  await called("Stop", [{ dataType: DataType.Int32, value: 0 }, { dataType: DataType.String, value: "" }]);
  const result = await until(() => heard.results.find((one) => one.PartId.id === "N1"), "the coil's result");
  await promoteOpaqueStructure(session, result.ResultContent.map((value) => ({ value }))); // reads the types' definitions
  const content = result.ResultContent[0].value;
  tell({
    job: job.id,
    result: result.ResultId.id,
    state: result.ResultState,
    partial: result.IsPartial,
    content: { coil: content.coil, lengthMm: content.lengthMm, coverage: content.coverage, defects: content.defects,
      byClass: content.defectsByClass.map((one) => [one.defectClass, one.count]) },
  });
  await subscription.terminate();
}

(async () => {
  let opened;
  try {
    opened = await open();
  } catch (error) {
    tell({ refused: error.message });
    process.exit(0);
  }
  try {
    if (asked.mode === "story") await story(opened.session);
    else tell({ connected: true });
  } finally {
    await opened.session.close();
    await opened.client.disconnect();
  }
  process.exit(0);
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
