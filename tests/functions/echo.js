// Logs the event and answers it.
exports.handler = async (event) => {
  console.log(JSON.stringify(event));
  return event;
};
