// Throws what the event says.
exports.handler = async (event) => {
  throw new Error(`Error: ${event.error_msg}`);
};
