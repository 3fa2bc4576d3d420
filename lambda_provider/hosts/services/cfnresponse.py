"""The module that CloudFormation puts beside inline code, so that functions can answer for custom resources.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-lambda-function-code-cfnresponsemodule.html: which statement
asks for it, what it is called, and what it sends. Ours goes to the address that it is given, TLS or not.
"""

from __future__ import annotations

import re

_PYTHON_ASKS = re.compile(r"^\s*(import\s+cfnresponse|from\s+cfnresponse\s+import)", re.MULTILINE)
_NODE_ASKS = re.compile(r"""require\(\s*['"]cfn-response['"]\s*\)""")

PYTHON = '''"""Tells CloudFormation what became of a custom resource."""
import json
import urllib.request

SUCCESS = "SUCCESS"
FAILED = "FAILED"


def send(event, context, responseStatus, responseData, physicalResourceId=None, noEcho=False, reason=None):
    body = json.dumps({
        "Status": responseStatus,
        "Reason": reason or "See the details in CloudWatch Log Stream: {}".format(context.log_stream_name),
        "PhysicalResourceId": physicalResourceId or context.log_stream_name,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "NoEcho": noEcho,
        "Data": responseData,
    }).encode("utf-8")
    request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT")
    request.add_header("Content-Type", "")
    try:
        with urllib.request.urlopen(request) as response:
            print("Status code:", response.status)
    except Exception as e:
        print("send(..) failed executing the request:", e)
'''

NODE = """// Tells CloudFormation what became of a custom resource.
exports.SUCCESS = "SUCCESS";
exports.FAILED = "FAILED";

exports.send = function (event, context, responseStatus, responseData, physicalResourceId, noEcho, reason) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({
      Status: responseStatus,
      Reason: reason || "See the details in CloudWatch Log Stream: " + context.logStreamName,
      PhysicalResourceId: physicalResourceId || context.logStreamName,
      StackId: event.StackId,
      RequestId: event.RequestId,
      LogicalResourceId: event.LogicalResourceId,
      NoEcho: noEcho || false,
      Data: responseData,
    });
    const url = new URL(event.ResponseURL);
    const client = require(url.protocol === "https:" ? "https" : "http");
    const headers = { "content-type": "", "content-length": Buffer.byteLength(body) };
    const request = client.request(url, { method: "PUT", headers }, (response) => {
      response.resume();
      response.on("end", () => {
        console.log("Status code: " + response.statusCode);
        resolve(context.done());
      });
    });
    request.on("error", (error) => {
      console.log("send(..) failed executing the request: " + error);
      reject(context.done(error));
    });
    request.end(body);
  });
};
"""


def helper_for(runtime: str, code: str) -> dict[str, str]:
    """The file that inline code asks for, if it does."""
    if runtime.startswith("python") and _PYTHON_ASKS.search(code):
        return {"cfnresponse.py": PYTHON}
    if runtime.startswith("nodejs") and _NODE_ASKS.search(code):
        return {"node_modules/cfn-response/index.js": NODE}
    return {}
