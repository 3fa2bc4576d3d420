const cdk = require("aws-cdk-lib");
const lambda = require("aws-cdk-lib/aws-lambda");
const sqs = require("aws-cdk-lib/aws-sqs");
const sources = require("aws-cdk-lib/aws-lambda-event-sources");

const app = new cdk.App();
const stack = new cdk.Stack(app, "CdkStack", { env: { account: "000000000000", region: "us-east-1" } });
const queue = new sqs.Queue(stack, "Queue");
const layer = new lambda.LayerVersion(stack, "Layer", { code: lambda.Code.fromAsset("layer") });
const fn = new lambda.Function(stack, "Function", {
  runtime: lambda.Runtime.PYTHON_3_12,
  handler: "index.handler",
  code: lambda.Code.fromAsset("src"),
  layers: [layer],
  environment: { GREETED: process.env.GREETED || "world" },
});
const alias = new lambda.Alias(stack, "Alias", { aliasName: "live", version: fn.currentVersion });
alias.addEventSource(new sources.SqsEventSource(queue));
const url = alias.addFunctionUrl({ authType: lambda.FunctionUrlAuthType.NONE });
new cdk.CfnOutput(stack, "Url", { value: url.url });
new cdk.CfnOutput(stack, "AliasArn", { value: alias.functionArn });
new cdk.CfnOutput(stack, "QueueUrl", { value: queue.queueUrl });
