// Answers nothing.
exports.handler = async () => {};
